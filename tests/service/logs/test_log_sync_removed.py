"""Syncing runs beside everything else, also beside the removal of the log that it syncs."""

from __future__ import annotations

from pathlib import Path

from orchestration.service.logs.tip import Extent
from orchestration.service.logs.writing import Limits, LogWriter
from tests.support.log_sources import records


class RemovedAfterALook(LogWriter):
    """A log that another thread removes right after `sync` has looked at what there is."""

    armed = False

    @property
    def extent(self) -> Extent:
        seen = super().extent
        if self.armed:
            self.armed = False
            self.remove()
        return seen


def test_a_log_that_is_removed_while_it_is_synced_is_no_error(tmp_path: Path) -> None:
    limits = Limits(segment_bytes=1000, max_bytes=10_000, max_age_s=60.0)
    writer = RemovedAfterALook(tmp_path / "d", limits, lambda: 0.0)
    writer.append("r", records("a"), "i")
    writer.armed = True
    writer.sync()
    assert not (tmp_path / "d").exists()
    assert writer.extent == Extent()

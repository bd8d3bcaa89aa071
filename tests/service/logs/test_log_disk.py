"""A disk that is full: lines wait at their source, nothing is torn, and copying goes on by itself."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from orchestration.service.logs.collector import LogCollector
from orchestration.service.logs.store import LogStore
from tests.support.log_sources import PrintingProvider, all_lines, copied, messages, until


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"file systems cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - the only way out of the loop


def _torn(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.read_bytes().endswith(b"\n")]


@pytest.mark.parametrize("segment_bytes", [20_000, 4 * 1024 * 1024], ids=["a new segment", "the same segment"])
async def test_lines_wait_for_a_full_disk_and_come_once_when_it_has_room(small_disk: Path, segment_bytes: int) -> None:
    source = PrintingProvider()
    store = LogStore(small_disk / "logs", segment_bytes=segment_bytes, max_bytes_per_deployment=1 << 30)
    collector = LogCollector(store)
    printed = [f"{number} {'x' * 100}" for number in range(3000)]
    source.print("i", printed[:100])
    collector.start(source.provider, "i", "d", "r")
    await copied(store, "i", "100")
    _fill(small_disk / "filler")
    source.print("i", printed[100:2000])
    with capture_logs() as logged:
        await until(lambda: sum(entry["event"] == "log_copy_failed" for entry in logged) >= 2, within_s=20)
    assert "No space left on device" in logged[0]["error"]
    kept = messages(await all_lines(store, "d"))
    assert kept == printed[: len(kept)]
    assert 100 <= len(kept) < 2000
    assert _torn(small_disk / "logs" / "d") == []
    (small_disk / "filler").unlink()
    source.print("i", printed[2000:])
    await copied(store, "i", "3000")
    assert messages(await all_lines(store, "d")) == printed
    await collector.close()
    await store.close()

"""When the database is asked whether it has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestration.store.logwatch import ASK_S, SETTLE_S, LogWatch


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "store.db-wal"
    path.write_bytes(b"frames")
    return path


def settled(log: Path, clock: Clock) -> LogWatch:
    watch = LogWatch(log, clock)
    assert watch.may_have_changed()
    clock.now += SETTLE_S
    assert not watch.may_have_changed()
    return watch


def test_what_stays_as_it_is_is_asked_for_once_a_second(log: Path) -> None:
    clock = Clock()
    watch = settled(log, clock)
    asked = 0
    for _ in range(200):
        clock.now += 0.05
        asked += watch.may_have_changed()
    assert 9 <= asked <= 10


@pytest.mark.parametrize("change", ["grown", "touched", "replaced"])
def test_a_change_is_asked_for_at_once_and_until_it_must_be_visible(log: Path, change: str) -> None:
    clock = Clock()
    watch = settled(log, clock)
    match change:
        case "grown":
            log.write_bytes(b"more frames")
        case "touched":
            os.utime(log, ns=(1, 1))
        case _:
            log.with_suffix(".new").write_bytes(b"frames")
            log.with_suffix(".new").replace(log)
    for _ in range(4):
        assert watch.may_have_changed()
        clock.now += SETTLE_S / 4
    assert not watch.may_have_changed()


def test_without_a_log_it_is_always_asked(log: Path) -> None:
    clock = Clock()
    watch = settled(log, clock)
    log.unlink()
    assert watch.may_have_changed()
    clock.now += ASK_S / 2
    assert watch.may_have_changed()

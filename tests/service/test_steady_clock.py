"""The gateway's clock: whatever is done to the wall clock, time passes steadily, and gets there in the end."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from orchestration.service.clock import SLEW, SteadyClock, bounded


class Machine:
    """A machine whose wall clock a test sets."""

    def __init__(self) -> None:
        self.wall_s = 1_800_000_000.0
        self.up_s = 1234.5

    def wait(self, seconds: float) -> None:
        self.wall_s += seconds
        self.up_s += seconds

    def clock(self) -> SteadyClock:
        return SteadyClock(lambda: self.wall_s, lambda: self.up_s)


def test_it_begins_with_the_wall_clock_and_keeps_its_pace() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(1000):
        machine.wait(3.6)
        assert clock() == pytest.approx(machine.wall_s, abs=1e-3)
    assert abs(SteadyClock()() - time.time()) < 1


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 86400.0 * 365, -86400.0 * 365])
def test_a_jump_is_no_jump(jump: float) -> None:
    machine = Machine()
    clock = machine.clock()
    before = clock()
    machine.wall_s += jump
    assert clock() == before
    machine.wait(10)
    assert abs(clock() - before - 10) <= 10 * SLEW + 1e-6
    assert (clock() - before - 10) * jump > 0, "it runs towards the wall clock"


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_an_hour_is_made_up_for_in_ten(jump: float) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall_s += jump
    for _ in range(10 * 3600 - 10):
        machine.wait(1)
        clock()
    assert 0 < abs(clock.offset_s) < 2
    for _ in range(20):
        machine.wait(1)
        clock()
    assert abs(clock.offset_s) < 1e-3
    machine.wait(100)
    assert clock() == pytest.approx(machine.wall_s, abs=1e-3)


def test_a_jump_is_told_of_once_and_so_is_the_next() -> None:
    machine = Machine()
    clock = machine.clock()
    with capture_logs() as logs:
        clock()
        for jump in (60.0, 600.0):
            machine.wall_s += jump
            for _ in range(50):
                machine.wait(0.1)
                clock()
    told = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [round(entry["off_s"]) for entry in told] == [60, 660]


def test_a_small_difference_is_left_alone() -> None:
    machine = Machine()
    clock = machine.clock()
    before = clock()
    machine.wall_s += 0.9
    machine.wait(100)
    assert clock() == pytest.approx(before + 100, abs=1e-3)


def test_a_machine_that_slept_knows_how_long() -> None:
    machine = Machine()
    clock = machine.clock()
    before = clock()
    machine.wait(8 * 3600)
    assert clock() == pytest.approx(before + 8 * 3600, abs=1e-3)


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(-1e7, 1e7)), min_size=1, max_size=50))
def test_time_passes_at_nearly_its_own_pace_whatever_the_wall_clock_does(steps: list[tuple[float, float]]) -> None:
    machine = Machine()
    clock = machine.clock()
    for passed, jump in steps:
        before = clock()
        machine.wait(passed)
        machine.wall_s += jump
        assert 0.9 * passed - 1e-3 <= clock() - before <= 1.1 * passed + 1e-3


def test_threads_share_one_time_that_never_goes_back() -> None:
    """They are made to take turns at the worst of moments: between the readings of the clocks."""
    machine = Machine()
    reading = threading.Lock()

    def monotonic() -> float:
        with reading:
            machine.wait(0.001)
            read_at = machine.up_s
        time.sleep(0)
        return read_at

    clock = SteadyClock(lambda: machine.wall_s, monotonic)
    began = machine.up_s

    def look() -> int:
        times = [clock() for _ in range(2000)]
        return sum(after < before for before, after in itertools.pairwise(times))

    start = clock()
    with ThreadPoolExecutor(4) as threads:
        went_back = sum(future.result() for future in [threads.submit(look) for _ in range(4)])
    assert went_back == 0
    assert clock() - start == pytest.approx(machine.up_s - began, abs=0.002)


def test_times_of_other_clocks_are_held_within_what_can_be() -> None:
    assert bounded(5.0, earliest=1.0, latest=10.0) == 5.0
    assert bounded(0.5, earliest=1.0, latest=10.0) == 1.0
    assert bounded(3600.0, earliest=1.0, latest=10.0) == 10.0

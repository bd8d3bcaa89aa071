"""Rows that were written before the clock was set back."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from orchestration.service.domain.times import TOLERANCE_S, corrected_times
from orchestration.store.records import Replica

NOW = 1_800_000_000.0
PAUSE_S = 300.0


def row(**fields: float) -> Replica:
    made = Replica(id="r", deployment_id="d", ordinal=0, generation=1)
    return dataclasses.replace(made, **fields)  # type: ignore[arg-type]


def test_what_is_possible_stays() -> None:
    past = row(started_at=NOW - 1e6, ready_at=NOW, placed_at=NOW + 1, retry_at=NOW + PAUSE_S)
    assert corrected_times(past, NOW, longest_pause_s=PAUSE_S) == {}
    assert corrected_times(row(), NOW, longest_pause_s=PAUSE_S) == {}


def test_what_is_yet_to_come_has_just_happened_and_pauses_end() -> None:
    ahead = row(started_at=NOW + 3600, placed_at=NOW + 3599, state_changed_at=NOW - 1, retry_at=NOW + 3600)
    expected = {"started_at": NOW, "placed_at": NOW, "retry_at": NOW + PAUSE_S}
    assert corrected_times(ahead, NOW, longest_pause_s=PAUSE_S) == expected


@given(st.dictionaries(st.sampled_from(["started_at", "ready_at", "retry_at", "billed_from"]), st.floats(0, 4e9)))
def test_once_is_enough_and_nothing_is_further_ahead_than_it_can_be(fields: dict[str, float]) -> None:
    replica = row(**fields)
    corrected = dataclasses.replace(replica, **corrected_times(replica, NOW, longest_pause_s=PAUSE_S))  # type: ignore[arg-type]
    assert corrected_times(corrected, NOW, longest_pause_s=PAUSE_S) == {}
    assert corrected.started_at <= NOW + TOLERANCE_S
    assert corrected.retry_at <= NOW + PAUSE_S + TOLERANCE_S

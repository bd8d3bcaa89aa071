"""Times as messages hold them, and back."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from orchestration.service.usecases.values import seconds_of, timestamp


@given(seconds=st.floats(1.0, 4e9))
@example(seconds=1796073042.813842)
def test_a_time_that_is_told_is_at_or_just_before_what_it_is_the_time_of(seconds: float) -> None:
    told = timestamp(seconds)
    assert told is not None
    assert seconds - 2e-6 <= seconds_of(told) <= seconds


def test_never_is_no_time() -> None:
    assert timestamp(0) is None

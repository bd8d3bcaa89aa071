"""Patterns for ranges of integers: all of the range and nothing else."""

from __future__ import annotations

import re
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from orchestration.gateway.openapi.numbers import range_pattern
from orchestration.gateway.openapi.rules import duration_pattern

BOUNDS = st.one_of(st.integers(-300, 300), st.integers(-(2**63), 2**64))


@given(st.tuples(BOUNDS, BOUNDS).map(sorted), st.data())
def test_a_pattern_takes_its_range_alone(bounds: list[int], data: st.DataObject) -> None:
    low, high = bounds
    pattern = re.compile(range_pattern(low, high))
    near = st.sampled_from([low - 1, low, low + 1, high - 1, high, high + 1, 0, -1, 10 * high])
    number = data.draw(st.one_of(near, BOUNDS, st.integers(low, high)))
    assert (pattern.fullmatch(str(number)) is not None) == (low <= number <= high)
    assert pattern.fullmatch(f"0{high}") is None
    assert pattern.fullmatch("-0") is None


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.decimals(0, 3 * 10**6, places=9, allow_nan=False))
def test_a_duration_of_whole_bounds_is_exact(low: int, length: int, seconds: Decimal) -> None:
    pattern = re.compile(duration_pattern(Decimal(low), Decimal(low + length)))
    assert (pattern.search(f"{seconds:f}s") is not None) == (low <= seconds <= low + length)


def test_a_duration_of_other_bounds_keeps_its_sign() -> None:
    pattern = re.compile(duration_pattern(Decimal("0.5"), Decimal(10)))
    assert pattern.search("1.5s")
    assert not pattern.search("-1.5s")

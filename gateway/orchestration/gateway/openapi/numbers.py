"""Regular expressions for ranges of integers written in decimal."""

from __future__ import annotations


def range_pattern(low: int, high: int) -> str:
    """What matches the integers from `low` to `high` in their shortest form and nothing else, without anchors."""
    parts: list[str] = []
    if low < 0:
        parts.extend("-" + part for part in _naturals(max(1, -high), -low))
    if high >= 0:
        parts.extend(_naturals(max(0, low), high))
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def _naturals(low: int, high: int) -> list[str]:
    """Alternatives, each for numbers of the same length with the same beginning."""
    parts: list[str] = []
    while low <= high:
        top = min(high, 10 ** len(str(low)) - 1)
        parts.extend(_same_length(str(low), str(top)))
        low = top + 1
    return parts


def _same_length(low: str, high: str) -> list[str]:
    if not low:
        return [""]
    rest = len(low) - 1
    if low[0] == high[0]:
        return [low[0] + tail for tail in _same_length(low[1:], high[1:])]
    if low[1:] == "0" * rest and high[1:] == "9" * rest:
        return [_digit(low[0], high[0]) + _any(rest)]
    if low[1:] != "0" * rest:
        first = [low[0] + tail for tail in _same_length(low[1:], "9" * rest)]
        return first + _same_length(str(int(low[0]) + 1) + "0" * rest, high)
    middle = _digit(low[0], str(int(high[0]) - 1)) + _any(rest)
    return [middle, *(high[0] + tail for tail in _same_length("0" * rest, high[1:]))]


def _digit(low: str, high: str) -> str:
    return low if low == high else f"[{low}-{high}]"


def _any(count: int) -> str:
    return "" if count == 0 else "[0-9]" if count == 1 else f"[0-9]{{{count}}}"

"""Numbers in a provider's settings, all of which are text."""

from __future__ import annotations

from collections.abc import Mapping


def number(provider: str, values: Mapping[str, str], key: str, default: float, *, minimum: float = 0.0) -> float:
    """A finite number that is not below the minimum. Raises ValueError naming the provider and the key."""
    text = values.get(key)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{provider} provider: {key} is {text!r}, which is not a number") from None
    if not minimum <= value < float("inf"):
        raise ValueError(f"{provider} provider: {key} is {text}, which is below {minimum:g} or not finite")
    return value

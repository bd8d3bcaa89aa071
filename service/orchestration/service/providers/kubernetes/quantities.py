"""Kubernetes' way to write amounts: ``500m`` CPUs, ``16Gi`` bytes."""

from __future__ import annotations

import math
import re

_UNITS = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
    "Ei": 2.0**60,
}
_FORM = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([eE][+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i)?)")


def quantity(text: str) -> float:
    """The amount in units or bytes. Raises ValueError.

    >>> quantity("500m"), quantity("2Ki"), quantity("1e3")
    (0.5, 2048.0, 1000.0)
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no quantity")
    digits, exponent, unit = match.groups()
    return float(digits + (exponent or "")) * _UNITS[unit or ""]


def amount(text: object) -> float:
    """What a cluster says that there is of something, 0.0 or more; 0.0 where it says nothing that can be counted by.

    >>> amount("500m"), amount("80Gb"), amount("-1"), amount("1e999"), amount(None)
    (0.5, 0.0, 0.0, 0.0, 0.0)
    """
    try:
        value = quantity(str(text))
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and value > 0 else 0.0

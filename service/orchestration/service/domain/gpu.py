"""GPU type names, compared as people write them."""

from __future__ import annotations

import re

_VENDORS = ("nvidia", "amd", "intel", "geforce", "radeon", "tesla")


def normalise(name: str) -> str:
    """The form in which GPU types are compared: lower case, no spaces or punctuation, no vendor's name.

    >>> normalise("NVIDIA GeForce RTX 4090") == normalise("nvidia-rtx4090") == "rtx4090"
    True
    """
    text = re.sub(r"[^a-z0-9]", "", name.lower())
    changed = True
    while changed:
        changed = False
        for vendor in _VENDORS:
            if text.startswith(vendor) and len(text) > len(vendor):
                text, changed = text.removeprefix(vendor), True
    return text


def allowed(gpu_type: str, allowed_types: tuple[str, ...]) -> bool:
    """Whether a GPU of this type may be used under the list; an empty list allows any."""
    return not allowed_types or normalise(gpu_type) in {normalise(item) for item in allowed_types}

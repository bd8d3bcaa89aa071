"""How values of settings are read and shown: lists out of one string, secrets masked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

MASK = "********"

_URL_PASSWORD = re.compile(r"(://[^/?#]*?:)([^/?#]*)(@)")
_QUERY_SECRET = re.compile(r"([?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sensitive:
    """Marks a knob that may hold a secret; ``show`` gives what may be printed of its value."""

    show: Callable[[object], object]


@dataclass(frozen=True, slots=True)
class DefaultText:
    """Describes a default that depends on the machine, or on another knob."""

    text: str


def mask_url_password(value: object) -> object:
    """The URL with its password, and secrets in its query, replaced by asterisks."""
    return _QUERY_SECRET.sub(rf"\g<1>{MASK}", _URL_PASSWORD.sub(rf"\g<1>{MASK}\g<3>", str(value)))


def mask_values(value: object) -> object:
    """Mappings with their keys kept and every value replaced by asterisks."""
    if isinstance(value, Mapping):
        return {key: mask_values(item) for key, item in cast("Mapping[str, object]", value).items()}
    return MASK


def split_commas(value: object) -> object:
    """A string holding a comma-separated list as a tuple; anything else as it is."""
    if isinstance(value, str):
        return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
    return value

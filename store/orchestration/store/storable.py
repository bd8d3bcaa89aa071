"""What text a database can hold: not every one takes NUL, and none takes half a surrogate pair.

A statement with such text would fail at the commit, and with it everybody who shares that. So it is found before.
"""

from __future__ import annotations

import dataclasses
import operator
import re
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from orchestration.store.errors import StoreError

T = TypeVar("T")

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_Texts = tuple[tuple[str, ...], Callable[[Any], tuple[str, ...]]]
_TEXTS: dict[type[Any], _Texts] = {}
"""What ``_texts`` found, by class."""
_TOLD = frozenset({"reason", "message", "failed_reason", "failed_message"})
"""Fields for a person to read: engines and providers have their say there."""


def printable(text: str) -> str:
    """The text with U+FFFD for every control character but tab and newline, and for every lone surrogate."""
    if text.isascii() and text.isprintable():
        return text
    return _UNPRINTABLE.sub("\ufffd", text)


def is_storable(text: str) -> bool:
    """Whether every database takes the text."""
    return ("\0" not in text) if text.isascii() else _UNSTORABLE.search(text) is None


def storable(row: T) -> T:
    """A record, event, lease or answer as it can be written: with what is for a person to read made printable.

    Raises StoreError naming a field that holds what no database takes.
    """
    names, values = _TEXTS.get(type(row)) or _texts(type(row))
    texts = values(row)
    told = {
        name: printable(text)
        for name, text in zip(names, texts, strict=True)
        if name in _TOLD and not (text.isascii() and text.isprintable())
    }
    if told:
        row = dataclasses.replace(typing.cast("Any", row), **told)
        texts = values(row)
    if not is_storable("".join(texts)):
        broken = next(name for name, text in zip(names, texts, strict=True) if not is_storable(text))
        raise StoreError(f"{broken} of a {type(row).__name__} holds a NUL or half a character, which cannot be stored")
    return row


def check_storable(**texts: str) -> None:
    """Raise StoreError naming one of the texts that no database takes."""
    for name, text in texts.items():
        if not is_storable(text):
            raise StoreError(f"{name} holds a NUL or half a character, which cannot be stored: {text!r}")


def _texts(cls: type[Any]) -> _Texts:
    """Names of the fields of a class that are text (JSON is none: it escapes what is in it), and their values."""
    hints = typing.get_type_hints(cls)
    names = tuple(f.name for f in dataclasses.fields(cls) if hints[f.name] is str)
    _TEXTS[cls] = names, operator.attrgetter(*names)
    return _TEXTS[cls]

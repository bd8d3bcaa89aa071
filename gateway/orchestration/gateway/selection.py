"""Parts of answers: which fields a caller wants, as Google's ``fields`` parameter has them.

``name,books(title,etag)`` and ``name,books.title,books/etag`` both name three fields; what is below a list is taken of
each element. Below a map come its keys, which may stand between backticks, and ``*`` stands for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestration.gateway.fieldpath import MAX_DEPTH
from orchestration.gateway.schema import ANY, FREE_JSON, find_field, has_own_json, is_map
from orchestration.gateway.values import JsonValue

Selection = dict[str, "Selection | None"]
"""What is wanted of an object, by key; None: all that is there."""

_EVERY: Final = "*"
_TOKEN: Final = re.compile(r"`[^`]*`|[^,./()`\s]+|[,./()]|(?P<other>.)", re.DOTALL)
_MARKS: Final = frozenset(",./()")


def read_selection(message: Descriptor, text: str) -> Selection | None:
    """What a text selects of a message; None for all. Raises ValueError, saying what is wrong."""
    if not text:
        return None
    return _Reader(text).read(message)


def select(value: JsonValue, selection: Selection | None) -> JsonValue:
    """The part of a JSON value that is wanted."""
    if selection is None:
        return value
    if isinstance(value, list):
        return [select(each, selection) for each in value]
    if not isinstance(value, dict):
        return value
    if selection.get(_EVERY, {}) is None:
        return value
    every = selection.get(_EVERY)
    chosen: dict[str, JsonValue] = {}
    for key, each in value.items():
        if key in selection:
            chosen[key] = select(each, _both(selection[key], every) if every else selection[key])
        elif every:
            chosen[key] = select(each, every)
    return chosen


def _both(one: Selection | None, other: Selection | None) -> Selection | None:
    """What either selects."""
    if one is None or other is None:
        return None
    both = dict(one)
    for key, below in other.items():
        both[key] = _both(both[key], below) if key in both else below
    return both


class _Reader:
    """Reads one text."""

    def __init__(self, text: str) -> None:
        tokens = list(_TOKEN.finditer(text))
        bad = next((token.group() for token in tokens if token.group("other")), None)
        if bad is not None:
            raise ValueError(f"expected names of fields, such as a,b.c or a,b(c), found {bad!r}")
        self._tokens: Iterator[str] = (token.group() for token in tokens)
        self._next = next(self._tokens, "")

    def read(self, message: Descriptor) -> Selection:
        found = self._list(_place_of(message), 1)
        if self._next:
            raise ValueError(f"expected a comma, found {self._next!r}")
        return found

    def _take(self, *wanted: str) -> bool:
        """Whether one of these comes next, which is then read."""
        if self._next not in wanted:
            return False
        self._next = next(self._tokens, "")
        return True

    def _list(self, place: _Place, depth: int) -> Selection:
        found: Selection = {}
        while True:
            key, below = self._path(place, depth)
            found[key] = _both(found[key], below) if key in found else below
            if not self._take(","):
                return found

    def _path(self, place: _Place, depth: int) -> tuple[str, Selection | None]:
        if depth > MAX_DEPTH:
            raise ValueError(f"has more than {MAX_DEPTH} levels")
        name = self._next
        if not name or name in _MARKS:
            raise ValueError(
                f"expected the name of a field, found {name!r}" if name else "the name of a field is missing"
            )
        self._take(name)
        key, inner = place.step(name)
        if self._take(".", "/"):
            at, below = self._path(inner, depth + 1)
            return key, {at: below}
        if not self._take("("):
            return key, None
        group = self._list(inner, depth + 1)
        if not self._take(")"):
            raise ValueError("a closing parenthesis is missing")
        return key, group


class _Place:
    """Where in an answer names are looked up: a message's fields, a map's keys, JSON of any form, or a value."""

    def __init__(
        self, message: Descriptor | None, *, values: FieldDescriptor | None = None, free: bool = False, name: str = ""
    ) -> None:
        self._message = message
        self._values = values
        self._free = free
        self._name = name

    def step(self, name: str) -> tuple[str, _Place]:
        """The key that a name stands for in the JSON, and what is below it. Raises ValueError."""
        if self._values is not None:
            return name.strip("`"), _below(self._values)
        if self._free:
            return name.strip("`"), self
        if self._message is None:
            raise ValueError(f"nothing can follow {self._name!r}")
        if name == _EVERY:
            return _EVERY, _Place(None, name=_EVERY)
        field = find_field(self._message, name)
        if field is None:
            raise ValueError(f"{self._message.name} has no field {name!r}")
        if is_map(field):
            assert field.message_type is not None
            return field.name, _Place(None, values=field.message_type.fields_by_name["value"])
        return field.name, _below(field)


def _below(field: FieldDescriptor) -> _Place:
    return _Place(None, name=field.name) if field.message_type is None else _place_of(field.message_type, field.name)


def _place_of(message: Descriptor, name: str = "") -> _Place:
    if message.full_name in FREE_JSON or message.full_name == ANY:
        return _Place(None, free=True)
    return _Place(None, name=name or message.name) if has_own_json(message) else _Place(message)

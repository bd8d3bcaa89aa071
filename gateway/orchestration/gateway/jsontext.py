"""JSON texts, read strictly: no key twice, no NaN, UTF-8 alone; errors say where."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final, TypeGuard

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestration.gateway.diagnosis import join
from orchestration.gateway.duplicates import Pairs, find_duplicates, find_in_field
from orchestration.gateway.errors import RequestError, Violation, invalid
from orchestration.gateway.quickjson import QuickReader
from orchestration.gateway.schema import ANY, FREE_JSON, reachable
from orchestration.gateway.values import JsonValue

_MOST_ANYS: Final = 32
"""Most Anys within each other: each is unpacked and packed again, with all that is in it."""
_MOST_OBJECTS: Final = 100
"""Most objects within each other, as protobuf's own limit of nesting is. An entry of a map is a message of its own."""


class JsonReader:
    """Reads the JSON of one message type, or that of a field of the type; without a message that of a scalar.

    A field may be spelt in two ways, so that twice the same field is more than twice the same key; and the members of
    a oneof exclude each other. While parsing only the names are looked at, whatever object they stand in; where that
    raises a suspicion, the schema decides.
    """

    def __init__(self, message: Descriptor | None, field: FieldDescriptor | None = None) -> None:
        self._message = message
        self._field = field
        """What the text is the value of: objects of a map, or of a list, are no messages by themselves."""

    # What follows is made for the first text: an API may have thousands of methods, of which few are ever called.

    @cached_property
    def _quick(self) -> QuickReader | None:
        return None if self._message is None else QuickReader(self._message, self._field)

    @cached_property
    def _rivals(self) -> Mapping[str, frozenset[str]]:
        return _rivals(self._message)

    @cached_property
    def _reached(self) -> frozenset[str]:
        return frozenset() if self._message is None else frozenset(each.full_name for each in reachable(self._message))

    @cached_property
    def _any(self) -> bool:
        """Whether there may be an Any: what it holds is known by its @type alone, so that the schema has to decide."""
        return ANY in self._reached

    @cached_property
    def _endless(self) -> bool:
        """Whether messages can be within each other to any depth."""
        return self._message is not None and _is_recursive(self._message)

    @cached_property
    def _decoder(self) -> json.JSONDecoder:
        # Typed fields have their range checked by the codec; in free JSON nothing else would notice an overflow.
        parse_float = _finite if self._reached & FREE_JSON else None
        return json.JSONDecoder(
            object_pairs_hook=self._object, parse_constant=_refuse_constant, parse_float=parse_float
        )

    def read(self, data: bytes) -> JsonValue:
        """Parse a text. Raises `RequestError` with the line, the column and the byte offset, or with the JSON path."""
        quick = self._quick
        if quick is None or (self._endless and data.count(b"{") > _MOST_OBJECTS):
            return self._read_closely(data)
        value = quick.read(data)
        return self._read_closely(data) if value is None else value

    def _read_closely(self, data: bytes) -> JsonValue:
        """Parse a text that may be wrong."""
        text = _decode_utf8(data)
        try:
            value = self._decoder.decode(text)
            if self._endless:
                _check_depth(value, lambda _: True, _MOST_OBJECTS, "objects")
            return value  # type: ignore[no-any-return]
        except _SuspicionError:
            return self._read_again(text)
        except json.JSONDecodeError as error:
            raise _syntax_error(text, error) from error
        except RecursionError:
            raise _too_deep() from None
        except ValueError as error:
            raise invalid("JSON_INVALID", [Violation("", f"invalid JSON: {error}")]) from error

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs) or (self._any and "@type" in result):
            raise _SuspicionError
        if not self._rivals.keys().isdisjoint(result):
            for name in self._rivals.keys() & result.keys():
                if not self._rivals[name].isdisjoint(result):
                    raise _SuspicionError
        return result

    def _read_again(self, text: str) -> JsonValue:
        try:
            tree = json.loads(text, object_pairs_hook=Pairs, parse_constant=_refuse_constant)
            if self._any:
                _check_depth(tree, _is_any, _MOST_ANYS, "objects with @type")
            violations = self._duplicates(tree)
            if violations:
                raise invalid("DUPLICATE_FIELD", violations)
            _check_depth(tree, lambda _: True, _MOST_OBJECTS, "objects")
            return json.loads(text, parse_constant=_refuse_constant, parse_float=self._decoder.parse_float)  # type: ignore[no-any-return]
        except json.JSONDecodeError as error:
            raise _syntax_error(text, error) from error
        except RecursionError:
            raise _too_deep() from None
        except ValueError as error:
            raise invalid("JSON_INVALID", [Violation("", f"invalid JSON: {error}")]) from error

    def _duplicates(self, tree: Any) -> list[Violation]:
        if self._field is not None:
            return find_in_field(self._field, tree, "")
        return find_duplicates(self._message, tree, "")


class _SuspicionError(Exception):
    """Some object may name a field twice."""


def _refuse_constant(name: str) -> JsonValue:
    raise ValueError(f'{name} is no JSON number; write it as the string "{name}"')


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large for a double")
    return number


def _check_depth(value: Any, counts: Callable[[Any], bool], most: int, what: str) -> None:
    """Raises `RequestError` where too many objects that count are within each other, naming the field they begin in."""
    waiting: list[tuple[Any, int, str]] = [(value, 0, "")]
    while waiting:
        each, depth, field = waiting.pop()
        if isinstance(each, (Pairs, dict)):
            pairs = _pairs(each)
            depth += counts(each)
            waiting.extend((below, depth, field or join("", name)) for name, below in pairs)
        elif _is_array(each):
            waiting.extend((below, depth, field) for below in each)
        if depth > most:
            raise invalid("JSON_TOO_DEEP", [Violation(field, f"more than {most} {what} are nested")])


def _pairs(each: Any) -> list[tuple[str, Any]]:
    return each if isinstance(each, Pairs) else list(each.items())


def _is_array(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_any(pairs: Any) -> bool:
    return any(key == "@type" for key, _ in pairs)


def _is_recursive(message: Descriptor) -> bool:
    """Whether a message can hold itself, or one of those in it can. The codec itself watches over free JSON."""
    done: dict[str, bool] = {}

    def visit(current: Descriptor) -> bool:
        name = current.full_name
        if name in done or name.startswith("google.protobuf."):
            return not done.get(name, True)
        done[name] = False
        found = any(visit(field.message_type) for field in current.fields if field.message_type is not None)
        done[name] = True
        return found

    return visit(message)


def _rivals(message: Descriptor | None) -> dict[str, frozenset[str]]:
    """For names of fields, of the message and all that it reaches, the names that must not stand beside them."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for current in [] if message is None else reachable(message):
        groups = [*([field] for field in current.fields), *(oneof.fields for oneof in current.oneofs)]
        for group in groups:
            names = {name for field in group for name in (field.name, field.json_name)}
            if len(names) > 1:
                for name in names:
                    found[name] |= names
    return {name: frozenset(others - {name}) for name, others in found.items()}


def _too_deep() -> RequestError:
    return invalid("JSON_TOO_DEEP", [Violation("", "the JSON is nested too deeply")])


def _decode_utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        text = f"the body is not UTF-8: byte {error.start} is {data[error.start]:#04x}"
        raise invalid("JSON_INVALID", [Violation("", text)], {"offset": str(error.start)}) from error


def _syntax_error(text: str, error: json.JSONDecodeError) -> RequestError:
    offset = len(text[: error.pos].encode())
    where = {"line": str(error.lineno), "column": str(error.colno), "offset": str(offset)}
    said = f"invalid JSON at line {error.lineno}, column {error.colno} (byte {offset}): {error.msg}"
    return invalid("JSON_INVALID", [Violation("", said)], where)

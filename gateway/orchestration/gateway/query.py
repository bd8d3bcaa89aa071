"""Query parameters: from the text after the question mark to values of fields."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from urllib.parse import unquote_to_bytes

from google.protobuf.descriptor import Descriptor

from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.errors import Violation, invalid
from orchestration.gateway.fieldpath import FieldPath, FieldPathError, OneofChoice, put, resolve
from orchestration.gateway.values import LAX_BOOLS, STRICT_BOOLS, JsonValue

_REMEMBERED = 1000
"""Most names that a binder keeps resolved: callers choose them, and those of recursive messages have no end."""


class QueryBinder:
    """Fills the leaves of one message that neither the path nor the body fills."""

    def __init__(self, message: Descriptor, path_fields: Sequence[FieldPath], body: str, config: GatewayConfig) -> None:
        self._message = message
        self._path_fields = {field.names for field in path_fields}
        self._path_choices: tuple[OneofChoice, ...] = tuple(choice for field in path_fields for choice in field.oneofs)
        self._body = body
        self._config = config
        self._bools = LAX_BOOLS if config.lax_bools else STRICT_BOOLS
        self._resolved: dict[str, FieldPath] = {}

    def bind(self, query: str, value: dict[str, JsonValue], choices: Sequence[OneofChoice] = ()) -> None:
        """Put the parameters into a JSON object. Raises `RequestError` naming each that is wrong.

        Args:
            query: As sent, without the question mark.
            value: The request as far as it is known.
            choices: Members of oneofs that the body has taken.
        """
        violations: list[Violation] = []
        seen: set[tuple[str, ...]] = set()
        taken = dict((*self._path_choices, *choices))
        for name, text in self._pairs(query):
            try:
                field = self._resolve(name)
                if field is not None:
                    self._take(field, text, value, seen, taken)
            except (FieldPathError, UnicodeDecodeError) as error:
                violations.append(Violation(name, str(error)))
        if violations:
            raise invalid("INVALID_QUERY", violations)

    def _pairs(self, query: str) -> Iterator[tuple[str, str]]:
        pairs = [pair for pair in query.split("&") if pair]
        if len(pairs) > self._config.max_query_parameters:
            text = f"has {len(pairs)} parameters, more than {self._config.max_query_parameters}"
            raise invalid("INVALID_QUERY", [Violation("query", text)])
        for pair in pairs:
            name, _, text = pair.partition("=")
            if "%" in pair or "+" in pair:
                name, text = self._decode(name, name), self._decode(text, name)
            if not name:
                raise invalid("INVALID_QUERY", [Violation(pair, "the parameter has no name")])
            yield name, text

    def _decode(self, text: str, name: str) -> str:
        """Decode as HTML forms are: a plus is a space. A malformed escape stands for itself, as browsers have it."""
        try:
            return unquote_to_bytes(text if self._config.keep_plus else text.replace("+", " ")).decode()
        except UnicodeDecodeError:
            raise invalid("INVALID_QUERY", [Violation(name, "is not UTF-8")]) from None

    def _resolve(self, name: str) -> FieldPath | None:
        """The field of a name; None for one to ignore. Raises `FieldPathError`."""
        known = self._resolved.get(name)
        if known is not None:
            return known
        try:
            field = self._lead(name)
        except FieldPathError as error:
            ignored = self._config.unknown_query
            if error.unknown and (ignored == "ignore" or (ignored != "error" and name in ignored)):
                return None
            raise
        if self._body == "*":
            raise FieldPathError("the whole request is in the body, so that no query parameter is taken")
        if field.names in self._path_fields:
            raise FieldPathError("is taken from the path")
        if field.names[0] == self._body:
            raise FieldPathError(f"{self._body} is taken from the body")
        if len(self._resolved) < _REMEMBERED and "[" not in name:
            self._resolved[name] = field
        return field

    def _lead(self, name: str) -> FieldPath:
        if not (self._config.map_query and name.endswith("]") and "[" in name):
            return resolve(self._message, name.split("."), self._bools)
        path, _, key = name[:-1].partition("[")
        return resolve(self._message, path.split("."), self._bools, key=key)

    def _take(
        self,
        field: FieldPath,
        text: str,
        value: dict[str, JsonValue],
        seen: set[tuple[str, ...]],
        taken: dict[tuple[str, ...], str],
    ) -> None:
        for oneof, member in field.oneofs:
            other = taken.setdefault(oneof, member)
            if other != member:
                raise FieldPathError(f"{member} and {other} exclude each other (oneof {oneof[-1]})")
        try:
            leaf = field.convert(text)
        except ValueError as error:
            raise FieldPathError(f"expected {error}, got {json.dumps(text)}") from error
        if field.field.is_repeated:
            if field.names in seen:
                _append(value, field.names, leaf)
                return
            leaf = [leaf]
        elif field.names in seen:
            raise FieldPathError("is given more than once")
        seen.add(field.names)
        put(value, field.names, leaf)


def _append(value: JsonValue, names: Sequence[str], leaf: JsonValue) -> None:
    for name in names:
        assert isinstance(value, dict)
        value = value[name]
    assert isinstance(value, list)
    value.append(leaf)

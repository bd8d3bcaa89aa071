"""Path variables: from the segments of a request's path to values of fields."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from google.protobuf.descriptor import Descriptor

from orchestration.gateway.errors import RuleError, Violation, invalid
from orchestration.gateway.fieldpath import FieldPath, FieldPathError, resolve
from orchestration.gateway.template import Template, Wildcard
from orchestration.gateway.values import JsonValue

_MALFORMED: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ENCODED_SLASH: Final = re.compile(r"(%2[Ff])")


@dataclass(frozen=True, slots=True)
class PathVariable:
    """Where in the path a field's value stands."""

    field: FieldPath
    start: int
    end: int
    """Index after the last segment; 0 or less: counted from the end of the path."""
    multi: bool

    def read(self, raw: Sequence[str], segments: Sequence[str]) -> JsonValue:
        """The value, from the segments as sent and as decoded. Raises `RequestError`."""
        if self.multi:
            end = self.end if self.end > 0 else len(raw) + self.end
            text = "/".join(map(_decode_but_slash, raw[self.start : end]))
        else:
            text = segments[self.start]
        try:
            if not text.isascii():
                text.encode()
            return self.field.convert(text)
        except UnicodeEncodeError:
            reason = "is not UTF-8"
        except ValueError as error:
            reason = f"expected {error}, got {json.dumps(text)}"
        raise invalid("INVALID_PATH", [Violation(".".join(self.field.names), reason)])


def compile_variables(template: Template, message: Descriptor, bools: Mapping[str, bool]) -> tuple[PathVariable, ...]:
    """The variables of a template, resolved. Raises `RuleError` with the column for a field that cannot be one.

    Args:
        template: The template.
        message: The request.
        bools: What is taken for a bool.
    """
    return tuple(_compile(template, message, index, bools) for index in range(len(template.variables)))


def _compile(template: Template, message: Descriptor, index: int, bools: Mapping[str, bool]) -> PathVariable:
    variable = template.variables[index]
    try:
        field = resolve(message, variable.path, bools)
    except FieldPathError as error:
        raise RuleError(f"column {variable.column}: {error}") from error
    if field.field.is_repeated:
        raise RuleError(f"column {variable.column}: {variable.name} is repeated, which a path variable must not be")
    spans = Wildcard.MANY in template.segments[: variable.end]
    end = variable.end - len(template.segments) if spans else variable.end
    return PathVariable(field, variable.start, end, variable.multi)


def split_path(path: str) -> tuple[list[str], list[str]]:
    """The segments of a path, as sent and percent-decoded. Raises `RequestError` for a malformed escape."""
    raw = path[1:].split("/") if path != "/" else []
    if "%" not in path:
        return raw, raw
    malformed = _MALFORMED.search(path)
    if malformed is not None:
        text = (
            f"{path[malformed.start() : malformed.start() + 3]!r} is no percent-escape; a percent sign is sent as %25"
        )
        raise invalid("INVALID_PATH", [Violation("path", text)], {"offset": str(malformed.start())})
    return raw, [unquote(segment, errors="surrogateescape") for segment in raw]


def _decode_but_slash(segment: str) -> str:
    if "%" not in segment:
        return segment
    parts = _ENCODED_SLASH.split(segment)
    return "".join(part if index % 2 else unquote(part, errors="surrogateescape") for index, part in enumerate(parts))

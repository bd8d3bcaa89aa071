"""Examples made of schemas, so that they are valid. None is given rather than one that could be wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from orchestration.gateway.openapi.config import JsonObject

NOTHING: Final = object()
"""Stands for no example."""
_FORMATS: Final = {
    "date-time": "2026-01-02T03:04:05Z",
    "uuid": "3f2b8c1e-5d4a-4f6b-9c7d-2e1f0a9b8c7d",
    "email": "ann@example.com",
    "hostname": "host.example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "https://example.com/",
}
_TEXTS: Final = (
    "example",
    "EXAMPLE",
    "aGk=",
    "1.5s",
    "60s",
    "42",
    "a",
    "A1",
    "/a",
    "a.b",
    "2026-01-02",
    "https://example.com/",
)
_RUNS: Final = tuple(character * length for length in range(1, 41) for character in "1aA")
_DEPTH: Final = 8


def example_of(schema: Any, components: Mapping[str, JsonObject], depth: int = 0) -> Any:
    """A valid value, or `NOTHING`.

    Args:
        schema: As this package makes them.
        components: What references lead to.
        depth: How many values stand around this one.
    """
    if not isinstance(schema, dict) or depth > _DEPTH:
        return NOTHING
    known: JsonObject = schema  # pyright: ignore[reportUnknownVariableType]
    if "example" in known:
        return known["example"]
    if "const" in known:
        return known["const"]
    if "enum" in known:
        return _chosen(known)
    if "$ref" in known:
        return example_of(components.get(known["$ref"].rpartition("/")[2]), components, depth)
    if "anyOf" in known:
        return example_of(known["anyOf"][0], components, depth)
    kind: str | list[str] = known.get("type", "")
    return _of_type(kind if isinstance(kind, str) else kind[0], known, components, depth)


def _chosen(schema: JsonObject) -> Any:
    """The first value that says something: neither empty nor the zero of an enum."""
    refused = schema.get("not", {}).get("enum", ())
    allowed = [each for each in schema["enum"] if each not in refused]
    telling = [each for each in allowed if each and not str(each).endswith("_UNSPECIFIED")]
    return next(iter([*telling, *allowed]), NOTHING)


def _of_type(kind: str, schema: JsonObject, components: Mapping[str, JsonObject], depth: int) -> Any:
    if kind == "string":
        return _text(schema)
    if kind in ("integer", "number"):
        return _number(schema, whole=kind == "integer")
    if kind == "boolean":
        return True
    if kind == "array":
        item = example_of(schema["items"], components, depth + 1)
        if schema.get("minItems", 0) > 1:
            return NOTHING
        return NOTHING if item is NOTHING and schema.get("minItems") else [] if item is NOTHING else [item]
    return _object(schema, components, depth) if kind == "object" else NOTHING


def _object(schema: JsonObject, components: Mapping[str, JsonObject], depth: int) -> Any:
    """All required fields, and those others that have an example of their own."""
    if schema.get("minProperties"):
        return NOTHING
    found: JsonObject = {}
    properties: JsonObject = schema.get("properties", {})
    wanted = [*schema.get("required", ()), *_first_choice(schema)]
    for name, field in properties.items():
        if name in wanted or "example" in field:
            value = example_of(field, components, depth + 1)
            if value is not NOTHING:
                found[name] = value
            elif name in wanted:
                return NOTHING
    return found


def _first_choice(schema: JsonObject) -> list[str]:
    """The first member of each oneof that wants one."""
    choices: list[JsonObject] = [schema, *schema.get("allOf", ())]
    first = [choice["oneOf"][0] for choice in choices if choice.get("oneOf")]
    return [name for each in first for name in each.get("required", ())]


def _text(schema: JsonObject) -> Any:
    low, high = schema.get("minLength", 0), schema.get("maxLength", math.inf)
    patterns = [each["pattern"] for each in (schema, *schema.get("allOf", ())) if "pattern" in each]
    refused: JsonObject = schema.get("not", {})
    if "format" in schema and schema["format"] in _FORMATS:
        candidates: tuple[str, ...] = (_FORMATS[schema["format"]],)
    else:
        padded = "example" + "x" * max(0, min(low, 1000) - len("example"))
        coded = ("aGVsbG8=", "aGk=") if schema.get("contentEncoding") == "base64" else ()
        candidates = (*coded, padded, *_TEXTS, padded[: int(min(high, len(padded)))], *_RUNS)
    for text in candidates:
        fits = low <= len(text) <= high and all(re.search(pattern, text) for pattern in patterns)
        if fits and text not in refused.get("enum", ()) and not re.search(refused.get("pattern", "(?!)"), text):
            return text
    return NOTHING


def _number(schema: JsonObject, *, whole: bool) -> Any:
    step = 1 if whole else 0.5
    low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf) + step)
    high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf) - step)
    for value in (1, low, high, 0):
        if low <= value <= high and math.isfinite(value) and value not in schema.get("not", {}).get("enum", ()):
            return value
    return NOTHING

"""Rules of buf.validate as keywords of JSON Schema, where it has them; the others as sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from orchestration.gateway.openapi.config import JsonObject
from orchestration.gateway.openapi.numbers import range_pattern

_FORMATS: Final = {
    "email": "email",
    "hostname": "hostname",
    "ipv4": "ipv4",
    "ipv6": "ipv6",
    "uri": "uri",
    "uri_ref": "uri-reference",
    "uuid": "uuid",
}
_WORDS: Final = {
    "ip": "an IP address",
    "address": "a hostname or an IP address",
    "tuuid": "a UUID without hyphens",
    "ulid": "a ULID",
    "host_and_port": "a host and a port",
    "ip_with_prefixlen": "an IP address with a prefix length",
    "ipv4_with_prefixlen": "an IPv4 address with a prefix length",
    "ipv6_with_prefixlen": "an IPv6 address with a prefix length",
    "ip_prefix": "an IP network",
    "ipv4_prefix": "an IPv4 network",
    "ipv6_prefix": "an IPv6 network",
    "lt_now": "a time in the past",
    "gt_now": "a time in the future",
}
_RE2_ONLY: Final = re.compile(r"\\[AzZQEpPC]|\(\?[A-Za-z]|\[\[:")
"""What RE2 has and the regular expressions of JSON Schema lack."""
_PERIOD_S: Final = 315_576_000_000
"""Longest Duration, in seconds."""


def limits(kind: str, rules: Any) -> JsonObject:
    """Keywords for one value.

    Args:
        kind: Name of the rules' type: string, bytes, int32, ..., double, enum, duration.
        rules: The rules of that type.
    """
    if kind == "string":
        return _string(rules)
    if kind == "bytes":
        return _bytes(rules)
    if kind == "duration":
        return {"pattern": duration_pattern(*_duration_bounds(rules))} if _bounded(rules) else {}
    if kind in ("bool", "enum", "any", "field_mask", "timestamp"):
        return {}
    return _number(rules)


def sentences(rules: Any) -> list[str]:
    """What the rules of a field or a message say in words: their CEL rules, and formats that JSON Schema lacks."""
    said = [rule.message or rule.expression for rule in rules.cel]
    kind = rules.WhichOneof("type") if "type" in rules.DESCRIPTOR.oneofs_by_name else None
    if kind is not None:
        typed = getattr(rules, kind)
        said += [
            f"must be {_WORDS[field.name]}" for field, value in typed.ListFields() if field.name in _WORDS and value
        ]
        if kind == "string" and typed.HasField("pattern") and not _portable(typed.pattern):
            said.append(f"must match `{typed.pattern}` (RE2)")
    return said


def refuses_zero(field: FieldDescriptor, rules: Any) -> bool:
    """Whether the rules refuse the value that a field without presence has when it is left out."""
    kind = rules.WhichOneof("type")
    if kind is None:
        return False
    typed = getattr(rules, kind)
    if kind in ("repeated", "map"):
        return bool(typed.min_items if kind == "repeated" else typed.min_pairs)
    if kind == "string":
        return _refuses_empty(typed)
    if kind == "bytes":
        return bool(typed.min_len or typed.len or (typed.HasField("const") and typed.const))
    return any(not accepted for accepted in _accept_zero(typed))


def _refuses_empty(rules: Any) -> bool:
    lengths = (rules.min_len, rules.len, rules.min_bytes, rules.len_bytes, rules.prefix, rules.suffix, rules.contains)
    if any(lengths) or rules.WhichOneof("well_known") is not None:
        return True
    listed = getattr(rules, "in")
    if (listed and "" not in listed) or "" in rules.not_in or (rules.HasField("const") and rules.const):
        return True
    return rules.HasField("pattern") and _portable(rules.pattern) and re.search(rules.pattern, "") is None


def _accept_zero(rules: Any) -> Iterator[bool]:
    tests = {"const": "__eq__", "lt": "__lt__", "lte": "__le__", "gt": "__gt__", "gte": "__ge__"}
    for field, value in rules.ListFields():
        if field.name in tests and not field.is_repeated and field.message_type is None:
            yield bool(getattr(0, tests[field.name])(value)) if isinstance(value, int) else _compare(field.name, value)
        elif field.name == "in":
            yield 0 in value
        elif field.name == "not_in":
            yield 0 not in value


def _compare(name: str, value: float) -> bool:
    return {"const": value == 0, "lt": value > 0, "lte": value >= 0, "gt": value < 0, "gte": value <= 0}[name]


def _string(rules: Any) -> JsonObject:
    found: JsonObject = {}
    shortest = max(rules.min_len, rules.len, -(-rules.min_bytes // 4), -(-rules.len_bytes // 4))
    longest = [getattr(rules, name) for name in ("max_len", "len", "max_bytes", "len_bytes") if rules.HasField(name)]
    if shortest:
        found["minLength"] = shortest
    if longest:
        found["maxLength"] = min(longest)
    patterns = [rules.pattern] if rules.HasField("pattern") and _portable(rules.pattern) else []
    patterns += ["^" + _escape(rules.prefix)] if rules.prefix else []
    patterns += [_escape(rules.suffix) + "$"] if rules.suffix else []
    patterns += [_escape(rules.contains)] if rules.contains else []
    if len(patterns) == 1:
        found["pattern"] = patterns[0]
    elif patterns:
        found["allOf"] = [{"pattern": pattern} for pattern in patterns]
    well_known = rules.WhichOneof("well_known")
    if well_known in _FORMATS and getattr(rules, well_known):
        found["format"] = _FORMATS[well_known]
    if rules.not_contains:
        found["not"] = {"pattern": _escape(rules.not_contains)}
    return {**found, **_choices(rules)}


def _choices(rules: Any) -> JsonObject:
    found: JsonObject = {}
    if getattr(rules, "in"):
        found["enum"] = list(getattr(rules, "in"))
    if rules.not_in:
        found["not"] = {"enum": list(rules.not_in)}
    if rules.HasField("const"):
        found["const"] = rules.const
    return found


def _bytes(rules: Any) -> JsonObject:
    """Lengths of the base64 text, padded or not."""
    found: JsonObject = {}
    shortest = rules.len or rules.min_len
    if shortest:
        found["minLength"] = (shortest * 8 + 5) // 6
    if rules.HasField("len") or rules.HasField("max_len"):
        found["maxLength"] = 4 * -(-(rules.len or rules.max_len) // 3)
    return found


def _number(rules: Any) -> JsonObject:
    names = {"gt": "exclusiveMinimum", "gte": "minimum", "lt": "exclusiveMaximum", "lte": "maximum"}
    found: JsonObject = {names[field.name]: _tidy(value) for field, value in rules.ListFields() if field.name in names}
    below = found.get("maximum", found.get("exclusiveMaximum"))
    above = found.get("minimum", found.get("exclusiveMinimum"))
    if below is not None and above is not None and below < above:
        # buf.validate takes bounds in this order for what lies outside of them.
        lower = {key: found[key] for key in ("maximum", "exclusiveMaximum") if key in found}
        upper = {key: found[key] for key in ("minimum", "exclusiveMinimum") if key in found}
        found = {"anyOf": [lower, upper]}
    return {**found, **_choices(rules)}


def _tidy(value: float) -> float:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _bounded(rules: Any) -> bool:
    return any(rules.HasField(name) for name in ("gt", "gte", "lt", "lte"))


def _duration_bounds(rules: Any) -> tuple[Decimal, Decimal]:
    """Lowest and highest value, in seconds; a bound that is excluded is one nanosecond off."""
    step = Decimal("1e-9")
    low, high = Decimal(-_PERIOD_S), Decimal(_PERIOD_S)
    for name, shift in (("gte", 0), ("gt", 1)):
        if rules.HasField(name):
            low = _seconds(getattr(rules, name)) + shift * step
    for name, shift in (("lte", 0), ("lt", 1)):
        if rules.HasField(name):
            high = _seconds(getattr(rules, name)) - shift * step
    return low, high


def _seconds(duration: Any) -> Decimal:
    return Decimal(duration.seconds) + Decimal(duration.nanos) / 10**9


def duration_pattern(low: Decimal, high: Decimal) -> str:
    """What matches the JSON of durations in a range of seconds; exact where the bounds are whole and not negative."""
    fraction = r"(?:\.[0-9]{1,9})?"
    first, last = int(low.to_integral_value("ROUND_CEILING")), int(high.to_integral_value("ROUND_FLOOR"))
    if low < 0 or first != low or last != high or last - first < 1:
        return rf"^{'-?' if low < 0 else ''}[0-9]{{1,12}}{fraction}s$"
    return rf"^(?:{range_pattern(first, last - 1)}{fraction}|{last}(?:\.0{{1,9}})?)s$"


def _portable(pattern: str) -> bool:
    if _RE2_ONLY.search(pattern):
        return False
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _escape(text: str) -> str:
    return (
        re.sub(r"[\\^$.*+?()\[\]{}|/-]", lambda found: "\\" + found.group(), text)
        .replace("\\-", "-")
        .replace("\\/", "/")
    )

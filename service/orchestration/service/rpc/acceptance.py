"""Messages that keep all rules of their protos, told at a fraction of what it costs to collect violations.

Nearly every request keeps its rules, and most rules are bounds. From a message's descriptor a plan is made once: by
field, what its value must pass. A message that passes keeps its rules; one that does not, or whose type has a rule that
is not understood here, is left to the validator, which alone says what is wrong.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from orchestration.service.rpc.texts import holds_nul

_Check = Callable[[Any], bool]
_NUMBERS: Final = frozenset({"int32", "int64", "uint32", "uint64", "double", "float"})


class _Plan(NamedTuple):
    checks: dict[FieldDescriptor, _Check]
    """What a field that is set must pass; those that are not here may hold anything."""
    needed: frozenset[FieldDescriptor]
    """Fields that must be set: unset, they break a rule."""


class _NotUnderstoodError(Exception):
    """A rule is of a kind that only the validator knows."""


def accepts(message: Message) -> bool:
    """Whether the message keeps all of its rules, and holds no NUL, for certain. False says nothing."""
    descriptor: Any = message.DESCRIPTOR
    plan = _plans.get(descriptor, _UNKNOWN)
    if plan is _UNKNOWN:
        plan = _plans[descriptor] = _plan_of(descriptor)
    return plan is not None and _passes(message, plan)


_UNKNOWN: Final = _Plan({}, frozenset())
_plans: Final[dict[Descriptor, _Plan | None]] = {}
"""By type of message; None where it has a rule that is not understood. Types are few, and live for ever."""


def _passes(message: Message, plan: _Plan) -> bool:
    checks, needed = plan
    missing = len(needed)
    for field, value in message.ListFields():
        check = checks.get(field)
        if check is not None and not check(value):
            return False
        if field in needed:
            missing -= 1
    return not missing


def _plan_of(descriptor: Descriptor) -> _Plan | None:
    try:
        return _make_plan(descriptor)
    except _NotUnderstoodError:
        return None


def _rules(of: Any, extension: Any) -> Any:
    """The rules that stand on a field, a oneof or a message."""
    return of.GetOptions().Extensions[extension]


def _make_plan(descriptor: Descriptor) -> _Plan:
    wholes = [_rules(descriptor, validate_pb2.message)]
    wholes += [_rules(oneof, validate_pb2.oneof) for oneof in descriptor.oneofs]
    if any(rules.ListFields() for rules in wholes):
        raise _NotUnderstoodError
    checks: dict[FieldDescriptor, _Check] = {}
    needed: set[FieldDescriptor] = set()
    for field in descriptor.fields:
        rules = _rules(field, validate_pb2.field)
        check = _check_of(field, rules)
        if check is not None:
            checks[field] = check
        if rules.required or not _may_be_unset(field, check):
            needed.add(field)
    return _Plan(checks, frozenset(needed))


def _may_be_unset(field: FieldDescriptor, check: _Check | None) -> bool:
    """Whether a field that is not set keeps its rules: without presence they hold for its default, too."""
    if field.has_presence or check is None:
        return True
    return check(() if field.is_repeated and not _is_map(field) else {} if _is_map(field) else field.default_value)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _check_of(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> _Check | None:
    """What the field's value must pass; None where it may be anything."""
    kind = rules.WhichOneof("type")
    _only(rules, "required", *([kind] if kind else []))
    if _is_map(field):
        return _map_check(field, rules.map)
    if field.is_repeated:
        return _items_check(field, rules.repeated)
    return _value_check(field, rules)


def _only(rules: Message, *names: str) -> None:
    """Raises `_NotUnderstoodError` when other rules are set than these."""
    if any(field.name not in names for field, _ in rules.ListFields()):
        raise _NotUnderstoodError


def _value_check(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> _Check | None:
    kind = rules.WhichOneof("type")
    if kind is not None and kind not in ("string", "enum", *_NUMBERS):
        raise _NotUnderstoodError
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text_check(rules.string)
    if field.message_type is not None:
        if kind is not None:  # of a wrapper's value
            raise _NotUnderstoodError
        return _message_check(field.message_type)
    if kind == "enum":
        return _enum_check(field, rules.enum)
    return None if kind is None else _number_check(getattr(rules, kind))


def _text_check(rules: validate_pb2.StringRules) -> _Check:
    _only(rules, "min_len", "max_len")
    least, most = rules.min_len, rules.max_len if rules.HasField("max_len") else math.inf
    return lambda text: least <= len(text) <= most and "\0" not in text


def _number_check(rules: Any) -> _Check:
    """NaN is in no interval, and so is left to the validator."""
    _only(rules, "finite", "gte", "lte")
    finite = any(field.name == "finite" for field, _ in rules.ListFields())
    most = sys.float_info.max if finite else math.inf
    lowest = rules.gte if rules.HasField("gte") else -most
    highest = rules.lte if rules.HasField("lte") else most
    return lambda number: lowest <= number <= highest


def _enum_check(field: FieldDescriptor, rules: validate_pb2.EnumRules) -> _Check | None:
    _only(rules, "defined_only")
    kind: Any = field.enum_type
    return frozenset(kind.values_by_number).__contains__ if rules.defined_only else None


def _message_check(descriptor: Descriptor) -> _Check:
    if descriptor.file.package == "google.protobuf":
        return lambda message: not holds_nul(message)
    return accepts


def _items_check(field: FieldDescriptor, rules: validate_pb2.RepeatedRules) -> _Check | None:
    _only(rules, "min_items", "max_items", "items")
    item = _value_check(field, rules.items)
    least, most = rules.min_items, rules.max_items if rules.HasField("max_items") else math.inf
    _only(rules.items, *([rules.items.WhichOneof("type") or ""]))
    if item is None:
        return lambda items: least <= len(items) <= most
    return lambda items: least <= len(items) <= most and all(map(item, items))


def _map_check(field: FieldDescriptor, rules: validate_pb2.MapRules) -> _Check:
    _only(rules, "min_pairs", "max_pairs", "keys", "values")
    entry: Any = field.message_type
    key = _check_of(entry.fields_by_name["key"], rules.keys) or _anything
    value = _check_of(entry.fields_by_name["value"], rules.values) or _anything
    least, most = rules.min_pairs, rules.max_pairs if rules.HasField("max_pairs") else math.inf

    def check(pairs: Any) -> bool:
        if not least <= len(pairs) <= most:
            return False
        # items() of such a map is written in Python, and costs four times as much; a generator is a frame for each.
        for name in pairs:  # noqa: SIM110
            if not (key(name) and value(pairs[name])):
                return False
        return True

    return check


def _anything(_: object) -> bool:
    return True

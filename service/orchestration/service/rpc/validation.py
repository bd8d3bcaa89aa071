"""The rules that stand in the protos (buf.validate), and the one that holds for every text, checked."""

from __future__ import annotations

import protovalidate
from google.protobuf.message import Message

from orchestration.service.errors import InvalidArgumentError, Violation
from orchestration.service.rpc.acceptance import accepts
from orchestration.service.rpc.texts import nul_violations

_validator = protovalidate.Validator()


def check(message: Message) -> None:
    """Raise `InvalidArgumentError` naming every field of the message that breaks its rules."""
    if accepts(message):
        return
    broken = [_violation(item) for item in _validator.collect_violations(message)]
    broken += nul_violations(message)
    if broken:
        raise InvalidArgumentError(*broken)


def _violation(item: protovalidate.Violation) -> Violation:
    proto = item.proto
    path = ""
    for element in proto.field.elements if proto.field else ():
        path += f".{element.field_name}" if path else element.field_name
        match element.subscript:
            case None:
                pass
            case subscript:
                path += f"[{subscript.value!r}]" if isinstance(subscript.value, str) else f"[{subscript.value}]"
    return Violation(path or "request", _with_value(proto.message, item.field_value))


def _with_value(message: str, value: object) -> str:
    """The rule's sentence with the value that broke it, when that is short enough to help."""
    shown = repr(value) if isinstance(value, str | bool | int | float) else ""
    return f"{message}, got {shown}" if shown and len(shown) <= 100 else message

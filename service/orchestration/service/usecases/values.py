"""Small translations between messages and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(seconds: float) -> Timestamp | None:
    """A Timestamp of Unix seconds, cut to the microsecond; None for 0 (never).

    Cut and not rounded: a caller who sends it back as a lower bound gets what it was the time of.
    """
    if not seconds:
        return None
    micros = int(seconds * 1_000_000)
    if micros // 1_000_000 + micros % 1_000_000 * 1000 / 1e9 > seconds:  # the product was rounded up
        micros -= 1
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def seconds_of(value: Timestamp) -> float:
    """Unix seconds of a Timestamp."""
    return value.seconds + value.nanos / 1e9


def plain(struct: Struct) -> dict[str, object]:
    """A Struct as plain values; numbers stay float."""
    return {key: _plain_value(value) for key, value in struct.fields.items()}


def _plain_value(value: Value) -> object:
    match value.WhichOneof("kind"):
        case "struct_value":
            return plain(value.struct_value)
        case "list_value":
            return [_plain_value(item) for item in value.list_value.values]
        case "number_value":
            return value.number_value
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


def struct(values: Mapping[str, object]) -> Struct:
    """Plain JSON values as a Struct."""
    return Struct(fields={key: _value(value) for key, value in values.items()})


def _value(value: object) -> Value:
    match value:
        case None:
            return Value(null_value=0)  # type: ignore[arg-type]
        case bool():
            return Value(bool_value=value)
        case int() | float():
            return Value(number_value=float(value))
        case str():
            return Value(string_value=value)
        case list():
            return Value(list_value=ListValue(values=[_value(item) for item in cast("list[object]", value)]))
        case Mapping():
            return Value(struct_value=struct(cast("Mapping[str, object]", value)))
        case _:
            raise TypeError(f"not a JSON value: {type(value).__name__}")

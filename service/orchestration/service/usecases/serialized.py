"""Answers that are on the wire already when their use case gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Serialized(Generic[M]):
    """A message that was put together on the wire: to parse it, and to serialize it again, took a quarter of a list."""

    wire: bytes

"""Handlers that do all that handlers may do with their context, for comparing the ways in which they can be served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from tests.support.transcoding_service import message

Note = Callable[[object], None]
Handler = Callable[..., Any]
CODE = grpc.StatusCode
DEADLINE = {"X-Request-Timeout": "1.0"}


@dataclass(frozen=True)
class Case:
    """A handler, and how it is called."""

    kind: str
    """Name of the method that it serves."""
    make: Callable[[Note], Handler]
    """Makes the handler; what it notes must be the same however it is served."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    sends: Sequence[str] = ("a", "b")
    """Texts of the client's messages, where it streams."""
    leaves: int | None = None
    """After how many messages the client goes; None: it reads to the end."""


CASES: dict[str, Case] = {}


def case(kind: str, **options: Any) -> Callable[[Callable[[Note], Handler]], None]:
    """Add what makes a handler of a method."""

    def add(make: Callable[[Note], Handler]) -> None:
        CASES[f"{kind}-{make.__name__}"] = Case(kind, make, **options)

    return add


def tick(number: int) -> Any:
    """A message of Count."""
    return message("Tick")(number=number)


def text_of(text: str) -> Any:
    """A message of Chat."""
    return message("Note")(text=text)


def summary(texts: Sequence[str]) -> Any:
    """The answer of Collect."""
    return message("Summary")(count=len(texts), texts=texts)


def error_of(call: Callable[[], object]) -> str:
    """The type of what a call raises."""
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "none"


def over(note: Note, _: object) -> None:
    """Note that the call is over: a callback."""
    note("over")

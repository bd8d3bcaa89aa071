"""System parameters: what Google's clients add to a query about the answer, and what is no field of the request.

``$alt=json;enum-encoding=int`` asks for enums as numbers, ``$alt=sse`` for a stream as server-sent events,
``$prettyPrint=true`` for JSON with line breaks, ``$fields=a,b(c)`` for these fields alone. These may be written without
the dollar where the request has no field of that name. ``$.xgafv=2`` names the format of errors that the gateway has
anyway. Any other is refused as an unknown parameter is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final
from urllib.parse import unquote_plus

from google.protobuf.descriptor import Descriptor

from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.diagnosis import shown
from orchestration.gateway.errors import Violation, invalid
from orchestration.gateway.schema import find_field
from orchestration.gateway.selection import Selection, read_selection


@dataclass(frozen=True, slots=True)
class Style:
    """How an answer is printed."""

    enums_as_numbers: bool = False
    indented: bool = False
    events: bool = False
    """Whether a stream is sent as events, whatever is accepted."""
    selection: Selection | None = None
    """Which fields of the answer are sent; None: all."""

    @property
    def whole(self) -> Style:
        """The same with all fields."""
        return self if self.selection is None else replace(self, selection=None)


PLAIN: Final = Style()
_HINT: Final = re.compile(r"(?:^|&)(?:\$|%24|alt=|fields=|prettyPrint=)")
_BARE: Final = ("alt", "fields", "prettyPrint")
_AS_INT: Final = "enum-encoding=int"
_Reader = Callable[[str, Style], Style]
"""Raises ValueError, saying what is wrong."""


class SystemParameters:
    """Takes the system parameters out of the queries of one route.

    Args:
        message: The request.
        answer: The message that is sent; None: the answer has no fields.
        events: Whether it may be sent as events.
        config: Whether parameters are taken, and whether unknown ones are passed over.
    """

    def __init__(self, message: Descriptor, answer: Descriptor | None, config: GatewayConfig, *, events: bool) -> None:
        self._message = message
        self._answer = answer
        self._events = events
        self._enabled = config.system_parameters
        self._ignored = config.unknown_query

    @cached_property
    def _readers(self) -> dict[str, _Reader]:
        if not self._enabled:
            return {}
        known: dict[str, _Reader] = {
            "$.xgafv": _error_format,
            "$alt": self._alt,
            "$fields": self._fields,
            "$prettyPrint": _pretty_print,
        }
        bare = {name: known["$" + name] for name in _BARE if find_field(self._message, name) is None}
        return {**known, **bare}

    def take(self, query: str) -> tuple[str, Style]:
        """The query without them, and what they ask for. Raises `RequestError` for a value that is not served."""
        if not query or _HINT.search(query) is None:
            return query, PLAIN
        style, left = PLAIN, list[str]()
        seen: set[str] = set()
        for pair in query.split("&"):
            name, _, text = pair.partition("=")
            name = unquote_plus(name)
            reader = self._readers.get(name)
            if reader is None:
                self._check_unknown(name)
                left.append(pair)
                continue
            style = _read(reader, name, unquote_plus(text), style)
            if name in seen:
                raise invalid("INVALID_QUERY", [Violation(name, "is given more than once")])
            seen.add(name)
        return "&".join(left), style

    def _check_unknown(self, name: str) -> None:
        """Raises `RequestError` for what looks like a system parameter, no field being named so."""
        ignored = self._ignored == "ignore" or (self._ignored != "error" and name in self._ignored)
        if self._enabled and name.startswith("$") and not ignored:
            known = ", ".join(sorted(self._readers))
            raise invalid(
                "INVALID_QUERY", [Violation(name, f"is no system parameter that is served; there are: {known}")]
            )

    def _alt(self, text: str, style: Style) -> Style:
        form, _, encoding = text.replace(" ", "").partition(";")
        forms = ("json", "sse") if self._events else ("json",)
        if form not in forms or (encoding or _AS_INT) != _AS_INT:
            raise ValueError(f"expected {' or '.join(forms)}, with or without ;{_AS_INT}")
        return replace(style, events=form == "sse", enums_as_numbers=bool(encoding))

    def _fields(self, text: str, style: Style) -> Style:
        if self._answer is None:
            raise ValueError("this answer has no fields to choose from")
        return replace(style, selection=read_selection(self._answer, text))


def _pretty_print(text: str, style: Style) -> Style:
    if text not in ("true", "false"):
        raise ValueError("expected true or false")
    return replace(style, indented=text == "true")


def _error_format(text: str, style: Style) -> Style:
    if text != "2":
        raise ValueError("expected 2")
    return style


def _read(reader: _Reader, name: str, text: str, style: Style) -> Style:
    try:
        return reader(text, style)
    except ValueError as error:
        raise invalid("INVALID_QUERY", [Violation(name, f"{error}, got {shown(text)}")]) from None

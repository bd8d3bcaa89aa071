"""System parameters: what Google's clients add to a query about the answer, and what is no field of the request.

``$alt=json;enum-encoding=int`` asks for enums as numbers, ``$prettyPrint=true`` for JSON with line breaks. Both may be
written without the dollar where the request has no field of that name. ``$.xgafv=2`` names the format of errors that
the gateway has anyway. Any other is refused as an unknown parameter is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final
from urllib.parse import unquote_plus

from google.protobuf.descriptor import Descriptor

from orchestration.gateway.diagnosis import shown
from orchestration.gateway.errors import Violation, invalid
from orchestration.gateway.schema import find_field


@dataclass(frozen=True, slots=True)
class Style:
    """How an answer is printed."""

    enums_as_numbers: bool = False
    indented: bool = False


PLAIN: Final = Style()
_HINT: Final = re.compile(r"(?:^|&)(?:\$|%24|alt=|prettyPrint=)")


def _alt(text: str, style: Style) -> Style:
    if text == "json":
        return style
    if text.replace(" ", "") == "json;enum-encoding=int":
        return replace(style, enums_as_numbers=True)
    raise ValueError("json or json;enum-encoding=int")


def _pretty_print(text: str, style: Style) -> Style:
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return replace(style, indented=text == "true")


def _error_format(text: str, style: Style) -> Style:
    if text != "2":
        raise ValueError("2")
    return style


_Reader = Callable[[str, Style], Style]
_READERS: Final[Mapping[str, _Reader]] = {
    "$alt": _alt,
    "$prettyPrint": _pretty_print,
    "$.xgafv": _error_format,
    "alt": _alt,
    "prettyPrint": _pretty_print,
}


class SystemParameters:
    """Takes the system parameters out of the queries of one request message."""

    def __init__(self, message: Descriptor, *, enabled: bool) -> None:
        self._message = message
        self._enabled = enabled

    @cached_property
    def _readers(self) -> dict[str, _Reader]:
        if not self._enabled:
            return {}
        return {name: reader for name, reader in _READERS.items() if find_field(self._message, name) is None}

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
                left.append(pair)
                continue
            style = _read(reader, name, unquote_plus(text), style)
            if name in seen:
                raise invalid("INVALID_QUERY", [Violation(name, "is given more than once")])
            seen.add(name)
        return "&".join(left), style


def _read(reader: _Reader, name: str, text: str, style: Style) -> Style:
    try:
        return reader(text, style)
    except ValueError as error:
        raise invalid("INVALID_QUERY", [Violation(name, f"expected {error}, got {shown(text)}")]) from None

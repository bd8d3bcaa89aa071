"""Path templates of google.api.http, parsed.

    Template = "/" [ Segment { "/" Segment } ] [ ":" LITERAL ] ;
    Segment  = "*" | "**" | LITERAL | "{" FieldPath [ "=" Segment { "/" Segment } ] "}" ;

``**`` may be followed by literals, which the grammar's text forbids and googleapis itself uses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import unquote

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LITERAL: Final = re.compile(r"(?:%[0-9A-Fa-f]{2}|[^%/:{}*?#\s\x00-\x1f])+")
_VARIABLE_LITERAL: Final = re.compile(r"(?:%[0-9A-Fa-f]{2}|[^%/:{}*?#=\s\x00-\x1f])+")

_SYNTAX: Final = re.compile(r"[%/:{}*?#=\s\x00-\x1f\udc80-\udcff]")


class Wildcard(Enum):
    """What stands for any segment."""

    ONE = "*"
    """Exactly one segment, not empty."""
    MANY = "**"
    """Any number of segments, none included."""


Segment = str | Wildcard
"""A literal, percent-decoded, or a wildcard."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A field that takes a part of the path."""

    path: tuple[str, ...]
    """Names of the fields that lead to it."""
    start: int
    """Index of its first segment."""
    end: int
    """Index after its last segment."""
    multi: bool
    """Whether it may span several segments, so that an encoded slash has to stay encoded."""
    column: int

    @property
    def name(self) -> str:
        """The path with dots."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Template:
    """A template's segments, variables flattened into what they match."""

    text: str
    segments: tuple[Segment, ...]
    variables: tuple[Variable, ...]
    verb: str
    """The literal after the last colon, empty without one."""


class TemplateError(ValueError):
    """The template breaks the grammar."""

    def __init__(self, column: int, reason: str) -> None:
        super().__init__(f"column {column}: {reason}")
        self.column = column
        """Where, counted from 1."""
        self.reason = reason


def parse_template(text: str) -> Template:
    """Parse a template. Raises `TemplateError`."""
    return _Parser(text).parse()


def print_template(template: Template) -> str:
    """The template in its shortest spelling: it is parsed as the same segments, variables and verb."""
    opening = {variable.start: variable for variable in template.variables}
    parts: list[str] = []
    at = 0
    while at < len(template.segments):
        variable = opening.get(at)
        end = at + 1 if variable is None else variable.end
        text = "/".join(map(_print_segment, template.segments[at:end]))
        if variable is None:
            parts.append(text)
        else:
            parts.append(f"{{{variable.name}}}" if text == "*" else f"{{{variable.name}={text}}}")
        at = end
    verb = f":{_print_segment(template.verb)}" if template.verb else ""
    return "/" + "/".join(parts) + verb


def _print_segment(segment: Segment) -> str:
    if isinstance(segment, Wildcard):
        return segment.value
    # What must be encoded for the grammar, not for HTTP: a template may hold any letter.
    return _SYNTAX.sub(
        lambda found: "".join(f"%{byte:02X}" for byte in found.group().encode(errors="surrogateescape")), segment
    )


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._segments: list[Segment] = []
        self._variables: list[Variable] = []

    def parse(self) -> Template:
        if not self._text.startswith("/"):
            raise self._error("a template starts with /")
        verb = ""
        if self._text != "/":
            while self._take("/"):
                self._segment()
            verb = self._verb() if self._take(":") else ""
        else:
            self._at = 1
        if self._at != len(self._text):
            raise self._error(f"{self._text[self._at]!r} cannot stand here; expected / or : or the end")
        return Template(self._text, tuple(self._segments), tuple(self._variables), verb)

    def _segment(self) -> None:
        if self._take("{"):
            self._variable()
        else:
            self._plain_segment(_LITERAL)

    def _plain_segment(self, literal: re.Pattern[str]) -> None:
        start = self._at
        if self._take("**"):
            if Wildcard.MANY in self._segments:
                raise self._error("only literals may follow **", start)
            self._segments.append(Wildcard.MANY)
        elif self._take("*"):
            if Wildcard.MANY in self._segments:
                raise self._error("only literals may follow **", start)
            self._segments.append(Wildcard.ONE)
        else:
            self._segments.append(self._literal(literal))

    def _literal(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self._error("a segment must not be empty" if self._at_separator() else "not allowed in a segment")
        self._at = found.end()
        return unquote(found.group(), errors="surrogateescape")

    def _variable(self) -> None:
        column = self._at
        path = self._field_path()
        first = len(self._segments)
        if self._take("="):
            self._variable_segments()
        elif Wildcard.MANY in self._segments:
            raise self._error("only literals may follow **", column - 1)
        else:
            self._segments.append(Wildcard.ONE)
        if not self._take("}"):
            raise self._error("expected } or / or =")
        if any(path == other.path for other in self._variables):
            raise self._error(f"{'.'.join(path)} is bound twice", column)
        mine = self._segments[first:]
        multi = len(mine) > 1 or Wildcard.MANY in mine
        self._variables.append(Variable(path, first, len(self._segments), multi, column + 1))

    def _variable_segments(self) -> None:
        while True:
            if self._text.startswith("{", self._at):
                raise self._error("a variable must not hold another variable")
            self._plain_segment(_VARIABLE_LITERAL)
            if not self._take("/"):
                return

    def _field_path(self) -> tuple[str, ...]:
        names: list[str] = []
        while True:
            found = _IDENTIFIER.match(self._text, self._at)
            if found is None:
                raise self._error("expected a field's name")
            names.append(found.group())
            self._at = found.end()
            if not self._take("."):
                return tuple(names)

    def _verb(self) -> str:
        if self._at == len(self._text):
            raise self._error("a verb must not be empty")
        return self._literal(_LITERAL)

    def _take(self, token: str) -> bool:
        if self._text.startswith(token, self._at):
            self._at += len(token)
            return True
        return False

    def _at_separator(self) -> bool:
        return self._at == len(self._text) or self._text[self._at] in "/:}"

    def _error(self, reason: str, at: int | None = None) -> TemplateError:
        return TemplateError((self._at if at is None else at) + 1, reason)

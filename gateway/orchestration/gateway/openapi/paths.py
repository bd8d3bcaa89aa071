"""Templates of google.api.http as the paths of OpenAPI, which know single segments alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from orchestration.gateway.template import Template, Variable, Wildcard

_SAFE: Final = "-._~!$&'()*+,;=:@"


@dataclass(frozen=True, slots=True)
class PathParameter:
    """One wildcard of a template."""

    name: str
    variable: Variable | None
    """The variable that takes it; None for a wildcard that nothing takes."""
    whole: bool
    """Whether it is all that the variable takes."""
    many: bool
    """Whether it stands for any number of segments."""


@dataclass(frozen=True, slots=True)
class ExpandedPath:
    """A path with one parameter for each wildcard."""

    text: str
    parameters: tuple[PathParameter, ...]

    @property
    def shape(self) -> str:
        """The path with its parameters' names left out: OpenAPI takes paths of one shape for the same."""
        return re.sub(r"\{[^}]*\}", "{}", self.text)

    def renamed(self, names: tuple[str, ...]) -> ExpandedPath:
        """The same with other names for its parameters, in their order."""
        given = iter(names)
        text = re.sub(r"\{[^}]*\}", lambda _: "{" + next(given) + "}", self.text)
        parameters = (
            PathParameter(name, each.variable, each.whole, each.many)
            for name, each in zip(names, self.parameters, strict=True)
        )
        return ExpandedPath(text, tuple(parameters))


def expand(template: Template) -> ExpandedPath:
    """The path of a template: ``/v1/{name=shelves/*}`` becomes ``/v1/shelves/{shelf}``."""
    parts: list[str] = []
    parameters: list[PathParameter] = []
    for index, segment in enumerate(template.segments):
        if isinstance(segment, str):
            parts.append(quote(segment, safe=_SAFE, errors="surrogateescape"))
            continue
        variable = next((each for each in template.variables if each.start <= index < each.end), None)
        whole = variable is not None and variable.end - variable.start == 1
        # Tools take a dot in a parameter's name for a part of a value.
        name = "_".join(variable.path) if variable is not None and whole else _name_after(template, index)
        name = _unused(name, {each.name for each in parameters})
        parameters.append(PathParameter(name, variable, whole, segment is Wildcard.MANY))
        parts.append("{" + name + "}")
    verb = ":" + quote(template.verb, safe=_SAFE) if template.verb else ""
    return ExpandedPath("/" + "/".join(parts) + verb, tuple(parameters))


def _name_after(template: Template, index: int) -> str:
    """The singular of the literal before, as resource names have it."""
    before = template.segments[index - 1] if index else ""
    if not isinstance(before, str) or not re.fullmatch(r"[A-Za-z_]\w*", before, re.ASCII):
        return "segment"
    if before.endswith("ies"):
        return before[:-3] + "y"
    if before.endswith("ves"):
        return before[:-3] + "f"
    return before[:-1] if before.endswith("s") and not before.endswith("ss") else before


def _unused(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free

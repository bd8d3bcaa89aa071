"""Names of components: as short as they can be without meaning two things."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_REQUEST_SUFFIX: Final = "Input"


class ComponentNames:
    """Gives every message and enum a name of its own, the same whatever is asked first.

    Args:
        messages: Full names of all that could be named, with their packages.
    """

    def __init__(self, messages: Iterable[tuple[str, str]]) -> None:
        short: dict[str, list[str]] = {}
        for full_name, package in messages:
            name = full_name.removeprefix(f"{package}.") if package else full_name
            short.setdefault(name, []).append(full_name)
        self._names = {
            full_name: name if len(full_names) == 1 else full_name
            for name, full_names in short.items()
            for full_name in full_names
        }
        self._taken = set(self._names.values())

    def of(self, full_name: str) -> str:
        """The name of what answers hold, and of what requests hold when it is the same or when no answer holds it."""
        return self._names[full_name]

    def of_request(self, full_name: str) -> str:
        """The name of what requests hold where answers hold another form of it."""
        return self.free(self._names[full_name] + _REQUEST_SUFFIX)

    def free(self, name: str) -> str:
        """A name like this that no message has."""
        while name in self._taken:
            name += "_"
        return name


def identifier(text: str) -> str:
    """The text with all that an operationId or a component must not hold replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)

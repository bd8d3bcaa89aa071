"""One key of a deployment's configuration: its type, its range, and the flag or variable that it becomes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeGuard, cast

Kind = Literal["integer", "number", "boolean", "string", "strings", "variables"]
Setting = int | float | bool | str | tuple[str, ...] | Mapping[str, str]
"""A configuration value after its check, of the Python type that its key's kind stands for."""

NODES, GPUS_PER_NODE = "{nodes}", "{gpus_per_node}"
"""Words of commands over several nodes: how many there are, and GPUs of each that the replica has."""
NODE_RANK, LEADER = "{node_rank}", "{leader}"
"""And in a group: which of them it is, from 0, and the address of the one that is 0."""

_WANTED: Mapping[Kind, str] = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a string that is not empty",
    "strings": "a list of strings",
    "variables": "an object whose values are strings",
}


_LARGEST = 2**53
"""Up to here JSON's numbers are exact."""


class KeyValueError(ValueError):
    """A value that its key does not take; the text says what was got and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A configuration key and what it becomes on the command line or in the environment."""

    name: str
    kind: Kind
    about: str
    flag: str = ""
    """Command line flag; a boolean's is given alone, and only when true."""
    flag_off: str = ""
    """Flag of a boolean that is false, for engines where it is true by default."""
    variable: str = ""
    """Environment variable."""
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    """Exclusive lower bound."""
    choices: tuple[str, ...] = field(default=())
    may_be_empty: bool = False
    """Whether a string may be empty."""

    @property
    def wanted(self) -> str:
        """What the key takes, in words: ``a whole number from 1 to 65535``."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.may_be_empty:
            return "a string"
        return _WANTED[self.kind] + self._range()

    def check(self, value: object) -> Setting:
        """The value as its Python type. Raises `KeyValueError` when the key does not take it."""
        if _holds_nul(value):
            raise KeyValueError("holds a NUL character, which no command line can")
        match self.kind:
            case "integer" | "number":
                return self._number(value)
            case "boolean" if isinstance(value, bool):
                return value
            case "string" if isinstance(value, str) and (value or self.may_be_empty):
                if self.choices and value not in self.choices:
                    raise self._refusal(value)
                return value
            case "strings" if is_strings(value):
                return tuple(value)
            case "variables" if _is_variables(value):
                return dict(value)
            case _:
                raise self._refusal(value)

    def to_arguments(self, value: Setting) -> tuple[str, ...]:
        """The value as command line arguments; none when the key has no flag."""
        if not self.flag:
            return ()
        if isinstance(value, bool):
            given = self.flag if value else self.flag_off
            return (given,) if given else ()
        if isinstance(value, tuple):
            return tuple(word for item in value for word in (self.flag, item))
        return (self.flag, to_text(value))

    def _number(self, value: object) -> int | float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._refusal(value)
        low, high, above = self.minimum, self.maximum, self.above
        outside = (low is not None and value < low) or (high is not None and value > high)
        if outside or (above is not None and value <= above):
            raise self._refusal(value)
        if self.kind == "number":
            return value
        if not float(value).is_integer():
            raise self._refusal(value)
        if abs(value) > _LARGEST:
            raise KeyValueError(f"got {shown(value)}, wants {self.wanted}, and nothing beyond {_LARGEST}")
        return int(value)

    def _range(self) -> str:
        low = "" if self.minimum is None else f"{self.minimum:.0f}" if self.kind == "integer" else f"{self.minimum:g}"
        high = "" if self.maximum is None else f"{self.maximum:.0f}" if self.kind == "integer" else f"{self.maximum:g}"
        if self.above is not None:
            return f" above {self.above:g}" + (f", at most {high}" if high else "")
        if low and high:
            return f" from {low} to {high}"
        return f" of at least {low}" if low else f" of at most {high}" if high else ""

    def _refusal(self, value: object) -> KeyValueError:
        return KeyValueError(f"got {shown(value)}, wants {self.wanted}")


def to_text(value: Setting) -> str:
    """A checked value as one word: whole numbers without a point, booleans as ``true`` and ``false``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) and value.is_integer() and abs(value) < 1e6 else str(value)


def shown(value: object) -> str:
    """A JSON value for an error's text: as JSON, whole numbers without a point, cut where it is long."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def is_strings(value: object) -> TypeGuard[list[str] | tuple[str, ...]]:
    """Whether the value is a list of strings and nothing else."""
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in cast("list[object]", value))


def _holds_nul(value: object) -> bool:
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return any(_holds_nul(name) or _holds_nul(item) for name, item in items)
    if isinstance(value, list | tuple):
        return any(_holds_nul(item) for item in cast("list[object]", value))
    return isinstance(value, str) and "\0" in value


def _is_variables(value: object) -> TypeGuard[Mapping[str, str]]:
    if not isinstance(value, Mapping):
        return False
    items = cast("Mapping[object, object]", value).items()
    return all(isinstance(name, str) and isinstance(text, str) for name, text in items)

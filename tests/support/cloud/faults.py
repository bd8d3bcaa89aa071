"""What goes wrong in the fake cloud: planned for the next call, or drawn for each from a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

METHODS = ("create", "describe", "list", "delete", "logs", "resources")


class Fault(StrEnum):
    """One thing that goes wrong with one call."""

    FAIL_BEFORE = "fail_before"
    """Refused; nothing was done."""
    FAIL_AFTER = "fail_after"
    """Done, and answered with an error."""
    CUT = "cut"
    """Done, and the connection is closed without an answer."""
    LATE = "late"
    """No answer in time; it is done some seconds after that."""
    LAG = "lag"
    """Done, and answered seconds later."""
    CAPACITY = "capacity"
    """There is no room (only of ``create``)."""


@dataclass(slots=True)
class Faults:
    """Which calls go wrong how."""

    seed: int = 0
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    """By method, how likely each fault is; what is left of 1 goes well."""
    planned: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Method and fault of the next calls, taken before any is drawn."""
    fired: Counter[str] = field(default_factory=Counter[str])
    drawn: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.drawn = random.Random(self.seed)

    def next(self, method: str) -> Fault | None:
        """What goes wrong with this call; None: nothing."""
        fault = self._next(method)
        if fault is not None:
            self.fired[f"{method}:{fault}"] += 1
        return fault

    def _next(self, method: str) -> Fault | None:
        for number, (planned, fault) in enumerate(self.planned):
            if planned == method:
                del self.planned[number]
                return Fault(fault)
        at = self.drawn.random()
        for fault, rate in self.rates.get(method, {}).items():
            if at < rate:
                return Fault(fault)
            at -= rate
        return None

"""What the gateway has promised: every accepted request, and what each deployment must be because of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What a deployment of the soak is like."""

    STEADY = "steady"
    """Its engines run; it is updated, too."""
    CRASHING = "crashing"
    """Its engines are killed now and then."""
    BROKEN = "broken"
    """Its engine always ends, and its replicas are given up."""


@dataclass(slots=True)
class Promise:
    """One deployment as the answers have it. Only one driver changes it, and never with two requests at once."""

    key: str
    """Stands in the environment of its engines, so that they are known without the gateway."""
    kind: Kind
    replicas: int
    surge: int
    id: str = ""
    version: int = 0
    """Of what is run; stands in the environment, too."""
    running: bool = True
    purged: bool = False
    ceiling: int = 0
    """Most replicas that may have been wanted since there were last no more than are."""
    requests: int = 0
    """How many were begun; odd ones out: `busy`."""
    busy: bool = False
    events: Counter[str] = field(default_factory=Counter[str])
    """Events that accepted requests must have left, each once."""

    def begin(self, replicas: int) -> None:
        """A request is being sent; until it is answered, it may have been accepted."""
        self.ceiling = max(self.ceiling, replicas, self.replicas)
        self.requests += 1
        self.busy = True

    @property
    def wanted(self) -> int:
        """Engines that there are to be."""
        return self.replicas if self.running and not self.purged and self.kind is not Kind.BROKEN else 0


@dataclass(slots=True)
class Ledger:
    """All promises, and how they came about."""

    promises: list[Promise] = field(default_factory=list[Promise])
    accepts: Counter[str] = field(default_factory=Counter[str])
    sent: int = 0
    """Requests sent, each time that they were."""
    refusals: int = 0
    unanswered: int = 0
    """Requests cut off by a kill, each sent again with its key until it was answered."""
    kept: int = 0
    """Of those, the ones that had been accepted when the kill cut off their answer."""
    engine_kills: int = 0
    faults: list[str] = field(default_factory=list[str])
    """Answers that must never be given."""

    def by_key(self) -> dict[str, Promise]:
        """The promises by their key."""
        return {promise.key: promise for promise in self.promises}

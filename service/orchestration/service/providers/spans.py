"""Replicas that are larger than a node: over which numbers of nodes a number of GPUs splits evenly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MOST_NODES = 32
"""Of one replica: each way to split GPUs is an offer, and more nodes than these serve no model together."""
MOST_GPUS = 1024
"""Of one replica, likewise."""


@dataclass(frozen=True, slots=True)
class Span:
    """GPUs of several nodes, the same number on each."""

    nodes: int
    each: int

    @property
    def gpus(self) -> int:
        """Of all nodes."""
        return self.nodes * self.each


def spans(sizes: Iterable[int]) -> list[Span]:
    """Every way to have more GPUs than the largest node has, evenly on nodes of these sizes, fewest GPUs first.

    Of those with as many GPUs the one with the fewest nodes first; which is best depends on the engine.

    >>> [(span.gpus, span.nodes) for span in spans([4, 4, 4, 2])]
    [(6, 2), (6, 3), (8, 2), (8, 4), (9, 3), (12, 3)]
    """
    largest_first = sorted(sizes, reverse=True)
    found = [
        span
        for nodes in range(2, min(len(largest_first), MOST_NODES) + 1)
        for each in range(1, largest_first[nodes - 1] + 1)
        if largest_first[0] < (span := Span(nodes, each)).gpus <= MOST_GPUS
    ]
    return sorted(found, key=lambda span: (span.gpus, span.nodes))

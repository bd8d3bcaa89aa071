"""Replicas that are larger than a node: over how many nodes a number of GPUs splits evenly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MOST_NODES = 32
"""Of one replica: each number of GPUs is an offer, and more nodes than these serve no model together."""
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
    """Every number of GPUs above the largest node's that nodes of these sizes have together, smallest first.

    Each over the fewest nodes among which it splits evenly.

    >>> [(span.gpus, span.nodes) for span in spans([4, 4, 2])]
    [(6, 2), (8, 2)]
    """
    largest_first = sorted(sizes, reverse=True)
    found: dict[int, Span] = {}
    for nodes in range(2, min(len(largest_first), MOST_NODES) + 1):
        for each in range(1, largest_first[nodes - 1] + 1):
            span = Span(nodes, each)
            if largest_first[0] < span.gpus <= MOST_GPUS:
                found.setdefault(span.gpus, span)
    return sorted(found.values(), key=lambda span: span.gpus)

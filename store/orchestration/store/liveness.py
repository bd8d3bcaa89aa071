"""The part of a node that changes with every heartbeat: kept in memory at once, on disk within a second."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from itertools import repeat
from operator import attrgetter, call
from typing import Any, TypeVar

from sqlalchemy import BindParameter, bindparam, or_, update

from orchestration.store.records import Node, Record
from orchestration.store.tables import nodes

R = TypeVar("R", bound=Record)

LIVENESS_FIELDS = (
    "gpu_reported",
    "vcpu_allocated",
    "ram_gb_allocated",
    "health_score",
    "sequence",
    "last_heartbeat_at",
    "telemetry",
)
"""The fields of a node that ``Store.beat`` may change."""

CLOCK_TOLERANCE_S = 60.0
"""Clocks of several processes may differ by so much; a heartbeat further ahead is of a clock that was set back."""

_FIELDS = tuple(field.name for field in dataclasses.fields(Node))
_values = attrgetter(*_FIELDS)
_SETTERS = tuple(getattr(Node, name).__set__ for name in _FIELDS)
_call: Callable[..., object] = call
_SETTER_OF = {name: getattr(Node, name).__set__ for name in LIVENESS_FIELDS}

_HEARD_AT: BindParameter[float] = bindparam("new_last_heartbeat_at")
UPDATE_LIVENESS = (
    update(nodes)
    .where(
        nodes.c.id == bindparam("node_id"),
        or_(
            nodes.c.last_heartbeat_at <= _HEARD_AT,
            nodes.c.last_heartbeat_at > _HEARD_AT + CLOCK_TOLERANCE_S,
            # A later heartbeat, by the node's own count, that a process heard whose clock is behind.
            (nodes.c.incarnation == bindparam("of_incarnation")) & (nodes.c.sequence < bindparam("new_sequence")),
        ),
    )
    .values({name: bindparam(f"new_{name}") for name in LIVENESS_FIELDS})
)


def with_liveness(node: Node, changes: Mapping[str, Any]) -> Node:
    """What `dataclasses.replace` gives, for half of what it costs: it was a third of a heartbeat.

    Raises KeyError for a field that is not one of LIVENESS_FIELDS.
    """
    made = Node.__new__(Node)
    deque(map(_call, _SETTERS, repeat(made), _values(node)), maxlen=0)  # a loop takes half as long again
    for name, value in changes.items():
        _SETTER_OF[name](made, value)
    return made


def liveness(node: Node) -> dict[str, Any]:
    """The liveness fields of a node."""
    return {name: getattr(node, name) for name in LIVENESS_FIELDS}


def liveness_parameters(node: Node) -> dict[str, Any]:
    """The parameters of ``UPDATE_LIVENESS`` for a node."""
    heard = {"node_id": node.id, "of_incarnation": node.incarnation}
    return {**heard, **{f"new_{name}": value for name, value in liveness(node).items()}}


def possible_heartbeat(at: float, now: float) -> float:
    """When a node was heard of: now at the latest, whatever clock said so."""
    return now if at > now + CLOCK_TOLERANCE_S else at


def with_newest_liveness(record: R, known: Record | None) -> R:
    """The record, with the liveness of the known one where that is of a later heartbeat.

    Whoever loads a node, decides and writes it back must not undo a heartbeat that came in between.
    """
    if not isinstance(record, Node) or not isinstance(known, Node):
        return record
    if known.last_heartbeat_at <= record.last_heartbeat_at or known.incarnation != record.incarnation:
        return record
    return dataclasses.replace(record, **liveness(known))

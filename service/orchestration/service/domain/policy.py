"""What a pool's ``scheduling_policy_json`` may hold."""

from __future__ import annotations

import difflib
from enum import StrEnum
from functools import lru_cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestration.service.errors import InvalidArgumentError, Violation
from orchestration.store.records import Pool


class Strategy(StrEnum):
    """How placement chooses among the nodes, or offers, that could take a replica."""

    CHEAPEST = "cheapest"
    """The lowest price; among equals the fullest."""
    PACK = "pack"
    """The fullest node, so that whole nodes stay free for large replicas; the smallest offer."""
    SPREAD = "spread"
    """The emptiest node, so that the loss of one takes the fewest replicas; the offer that is used the least."""


class SchedulingPolicy(BaseModel):
    """How replicas are placed in a pool."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    strategy: Strategy = Strategy.CHEAPEST
    spot: Literal["never", "prefer"] = "never"
    """Whether capacity that may be taken back (spot, auction) is used; "prefer" only with providers that offer it."""
    fallback_to_on_demand: bool = True
    """With spot "prefer": other capacity is used while there is no spot capacity. False says nothing without it."""
    max_replicas_per_node: int = Field(default=0, ge=0, le=10_000)
    """0: as many as the node's GPUs take; without GPUs, four for each CPU."""


@lru_cache(maxsize=1024)
def _parse(text: str) -> SchedulingPolicy:
    return SchedulingPolicy.model_validate_json(text or "{}")


def policy_of(pool: Pool) -> SchedulingPolicy:
    """The policy of a pool, which was checked when it was written."""
    return _parse(pool.scheduling_policy_json)


def check_policy(text: str) -> None:
    """Raise `InvalidArgumentError` when the text is not a JSON object with known keys and values that make sense."""
    try:
        policy = _parse(text)
    except ValidationError as error:
        raise InvalidArgumentError(*(_violation(item["loc"], item["msg"]) for item in error.errors())) from None
    if policy.spot == "never" and not policy.fallback_to_on_demand:
        text = 'false leaves no capacity at all unless spot is "prefer"'
        raise InvalidArgumentError(Violation("scheduling_policy_json.fallback_to_on_demand", text))


def _violation(location: tuple[int | str, ...], message: str) -> Violation:
    known = list(SchedulingPolicy.model_fields)
    if not location:
        return Violation("scheduling_policy_json", f"must be a string that holds a JSON object: {message}")
    key = str(location[0])
    if key in known:
        return Violation(f"scheduling_policy_json.{key}", message)
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return Violation(f"scheduling_policy_json.{key}", f"is no key of the policy; the keys are {', '.join(known)}{hint}")

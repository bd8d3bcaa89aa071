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
    """How placement chooses among the nodes that could take a replica."""

    CHEAPEST = "cheapest"
    """The lowest price; among equals the fullest."""
    PACK = "pack"
    """The fullest, so that whole nodes stay free for large replicas."""
    SPREAD = "spread"
    """The emptiest, so that the loss of one node takes the fewest replicas."""


class SchedulingPolicy(BaseModel):
    """How replicas are placed in a pool."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    strategy: Strategy = Strategy.CHEAPEST
    spot: Literal["never", "prefer"] = "never"
    """Whether capacity that may be taken back is used, on providers that offer it."""
    fallback_to_on_demand: bool = True
    """With spot "prefer": on-demand capacity is used while there is no spot capacity."""
    max_replicas_per_node: int = Field(default=0, ge=0, le=10_000)
    """0: as many as the node's GPUs take; without GPUs, four for each CPU."""


@lru_cache(maxsize=1024)
def _parse(text: str) -> SchedulingPolicy:
    return SchedulingPolicy.model_validate_json(text or "{}")


def policy_of(pool: Pool) -> SchedulingPolicy:
    """The policy of a pool, which was checked when it was written."""
    return _parse(pool.scheduling_policy_json)


def check_policy(text: str) -> None:
    """Raise `InvalidArgumentError` when the text is not a JSON object with known keys and right values."""
    try:
        _parse(text)
    except ValidationError as error:
        raise InvalidArgumentError(*(_violation(item["loc"], item["msg"]) for item in error.errors())) from None


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

"""One customer's part of the fake cloud: instances, what comes later, and a journal of all that ever ran.

Time is what callers say it is: every call carries the caller's clock, and the account's stands at the latest that it
has been told. So a run whose time is skipped ahead is the same run, and nothing here ever waits.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.cloud.faults import Faults
from tests.support.cloud.instances import Behaviour, CloudInstance

KEPT_S = 60.0
"""How long the log of an instance that is gone can be read."""


class NoRoomError(Exception):
    """There is no room for the instance."""


class NeverError(Exception):
    """The instance can never run here."""


@dataclass(slots=True, kw_only=True)
class Offer:
    """A kind of machine, and how many there are of it."""

    resource_id: str
    gpu_type: str = "h100"
    gpu_count: int = 8
    price_per_hour: float = 1.0
    region: str = ""
    pricing_model: str = "on_demand"
    available: int = 1000
    vcpu: int = 64


@dataclass(slots=True, kw_only=True)
class Account:
    """Everything of one customer. Two accounts know nothing of each other."""

    now: float = 0.0
    offers: list[Offer] = field(default_factory=list[Offer])
    faults: Faults = field(default_factory=Faults)
    list_lag_s: float = 0.0
    """`listed` shows what was there so long ago."""
    describe_lag_s: float = 0.0
    """`described` does not show what is younger than that."""
    late_s: float = 8.0
    """When what was asked for comes, where the answer never did."""
    lag_s: float = 2.0
    full: bool = False
    """There is no room for anything new."""
    lost_nodes: set[str] = field(default_factory=set[str])
    instances: dict[str, CloudInstance] = field(default_factory=dict[str, CloudInstance])
    """Those that are not gone, by name."""
    past: list[CloudInstance] = field(default_factory=list[CloudInstance])
    journal: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _later: list[tuple[float, int, Callable[[], None]]] = field(
        default_factory=list[tuple[float, int, Callable[[], None]]]
    )
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def advance(self, now: float) -> None:
        """Let time pass, and happen what is due, in the order in which it is."""
        while self._later and self._later[0][0] <= now:
            due, _, effect = heapq.heappop(self._later)
            self.now = max(self.now, due)
            effect()
        self.now = max(self.now, now)

    def later(self, delay_s: float, effect: Callable[[], None]) -> None:
        """Have something happen after a delay."""
        heapq.heappush(self._later, (self.now + delay_s, next(self._numbers), effect))

    def create(self, spec: Mapping[str, Any]) -> CloudInstance:
        """Start an instance, or give the one of this name. Raises `NoRoomError`, `NeverError`."""
        known = self.instances.get(spec["name"])
        if known is not None:
            return known
        if self.full:
            raise NoRoomError("there is no room now")
        offer = self._offer_for(spec)
        instance = CloudInstance(
            name=spec["name"],
            instance_id=f"i-{next(self._numbers)}",
            owner=spec["owner"],
            spec=spec,
            behaviour=Behaviour.of(spec["env"]),
            price_per_hour=offer.price_per_hour if offer else 0.0,
            created_at=self.now,
        )
        self.instances[instance.name] = instance
        self._note("created", instance)
        if instance.behaviour.exit_s is not None:
            self.later(instance.behaviour.exit_s, lambda: self._exit(instance))
        return instance

    def _offer_for(self, spec: Mapping[str, Any]) -> Offer | None:
        if spec.get("image") == "impossible":
            raise NeverError("the image 'impossible' does not exist")
        if spec.get("node") in self.lost_nodes:
            raise NoRoomError(f"node {spec['node']} does not answer")
        wanted = spec.get("resource_id", "")
        if not wanted:
            return next(iter(self.offers), None)
        offer = next((offer for offer in self.offers if offer.resource_id == wanted), None)
        if offer is None or self.left(offer) == 0:
            raise NoRoomError(f"there is no {wanted} to be had")
        return offer

    def _exit(self, instance: CloudInstance) -> None:
        code = instance.behaviour.exit_code
        self.end(instance, state="EXITED", exit_code=code, reason="EXITED", message=f"exited with code {code}")

    def end(self, instance: CloudInstance, **how: Any) -> None:
        """The instance ends by itself, is killed, or its place is gone. No effect on one that has ended."""
        if instance.ended_at is None and instance.gone_at is None:
            instance.ended_at, instance.end = self.now, how
            self._note("ended", instance)

    def lose_node(self, node: str) -> None:
        """The node does not come back, nor does what ran on it."""
        self.lost_nodes.add(node)
        for instance in self.instances.values():
            if instance.spec.get("node") == node:
                self.end(instance, state="FAILED", reason="NODE_LOST", message=f"node {node} is lost")

    def delete(self, name: str) -> None:
        """End an instance; it is gone when it has ended."""
        instance = self.instances.get(name)
        if instance is None or instance.stopping_at is not None:
            return
        instance.stopping_at = self.now
        delay_s = 0.0 if instance.ended_at is not None else instance.behaviour.stop_s
        self.later(delay_s, lambda: self._gone(instance))
        self._note("deleted", instance)
        self.advance(self.now)

    def _gone(self, instance: CloudInstance) -> None:
        if instance.ended_at is None:
            instance.ended_at = self.now
            self._note("ended", instance)
        instance.gone_at = self.now
        del self.instances[instance.name]
        self.past.append(instance)

    def described(self, name: str) -> CloudInstance | None:
        """The instance, unless it is too young to be known everywhere."""
        instance = self.instances.get(name)
        young = instance is not None and self.now - instance.created_at < self.describe_lag_s
        return None if young else instance

    def listed(self, owner: str) -> list[CloudInstance]:
        """The owner's instances as they were a while ago, oldest first."""
        then = self.now - self.list_lag_s
        found = [item for item in self.instances.values() if item.created_at <= then]
        found += [item for item in self.past if item.created_at <= then and (item.gone_at or 0.0) > then]
        return sorted((item for item in found if item.owner == owner), key=lambda item: item.created_at)

    def left(self, offer: Offer) -> int:
        """How many there are of it that nobody has taken."""
        held = [item for item in self.instances.values() if item.spec.get("resource_id") == offer.resource_id]
        return max(0, offer.available - len(held))

    def readable(self, name: str) -> CloudInstance | None:
        """The instance of this name, also for a while after it is gone: what it printed can still be read."""
        late = (item for item in reversed(self.past) if self.now - (item.gone_at or 0.0) < KEPT_S)
        return self.instances.get(name) or next((item for item in late if item.name == name), None)

    def _note(self, what: str, instance: CloudInstance) -> None:
        spec = instance.spec
        self.journal.append(
            {
                "at": self.now,
                "what": what,
                "name": instance.name,
                "instance_id": instance.instance_id,
                "price_per_hour": instance.price_per_hour,
                **{
                    key: spec.get(key, "")
                    for key in ("deployment_id", "replica_id", "gpu_count", "provider_pool_id", "node", "resource_id")
                },
            }
        )

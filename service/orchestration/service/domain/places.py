"""Where a replica can run: a node that is there, or an offer of a provider that is rented for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from orchestration.service.engines.over_nodes import Reach, reach
from orchestration.service.engines.table import UnknownEngineError, get_engine
from orchestration.store.records import Node, NodeState, Pool, Reservation

SPOT_MODELS = frozenset({"spot", "auction"})
"""Pricing models of capacity that may be taken back at any time."""


class Demand(Protocol):
    """What placement looks at of a deployment, and nothing else: where these are equal, so is what it finds."""

    @property
    def owner_id(self) -> str:
        """Who owns it."""
        ...

    @property
    def org_id(self) -> str:
        """The owner's organisation."""
        ...

    @property
    def engine(self) -> str:
        """What its replicas run."""
        ...

    @property
    def gpu_per_replica(self) -> int:
        """GPUs that each of them needs; 0: none."""
        ...

    @property
    def configuration(self) -> Mapping[str, object]:
        """The engine's, of which only what tells how it runs over several nodes counts."""
        ...


DemandKey = tuple[str, str, str, int, Reach]


def demand_key(demand: Demand) -> DemandKey:
    """Equal for deployments that are placed alike."""
    return (demand.owner_id, demand.org_id, demand.engine, demand.gpu_per_replica, reach_of(demand))


def reach_of(demand: Demand) -> Reach:
    """Whether, and how, the deployment's engine runs over several nodes."""
    try:
        engine = get_engine(demand.engine)
    except UnknownEngineError as error:  # accepted once, by another version
        return Reach((), str(error))
    return reach(engine, demand.gpu_per_replica, demand.configuration)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A kind of machine that a provider rents; each replica on it has one of its own."""

    resource_id: str
    slug: str = ""
    """Another name by which a pool's ``provider_pool_id`` may mean it."""
    gpu_type: str = ""
    gpu_count: int = 0
    vcpu: float = 0.0
    region: str = ""
    pricing_model: str = ""
    price_per_hour: float = 0.0
    available: int = 0
    """How many more can be had now: what the provider told, less what was placed since."""
    held: int = 0
    """Replicas of this pool that run on it."""
    nodes: int = 1
    """Machines that it is made of; above 1 for replicas with exactly `gpu_count` GPUs."""
    way: str = ""
    """How an engine must be able to run over them."""
    one_node_because: str = ""
    """Why no replica spans several such machines."""
    more_machines: str = ""
    """How more of them may come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A node or an offer, as far as placement tells them apart."""

    what: str
    """How messages call it, such as ``node 'gpu-7'``."""
    gpu_type: str
    gpu_total: int
    """GPUs that the pool may use of it."""
    gpu_free: int
    vcpu_total: float
    region: str
    price_per_hour: float
    replicas: int
    """Replicas of the pool that it holds."""
    node_id: str = ""
    node_state: NodeState | None = None
    """None: an offer."""
    resource_id: str = ""
    slug: str = ""
    pricing_model: str = ""
    available: int = 0
    """Of an offer, how many more can be had."""
    nodes: int = 1
    way: str = ""
    one_node_because: str = ""
    more_machines: str = ""
    """As those of `Offer`."""

    @property
    def gpus_each(self) -> int:
        """GPUs of one machine."""
        return self.gpu_total // self.nodes


@dataclass(frozen=True)
class PoolView:
    """All that placement needs to know of a pool."""

    pool: Pool
    nodes: Sequence[Node]
    """Nodes that replicas are placed on; none where the provider's offers are."""
    reserved: Mapping[str, Reservation]
    """By node id; replicas without a node under the empty id."""
    unavailable: str = ""
    """Why the pool's provider cannot be used; empty when it can."""
    engines: tuple[str, ...] = ()
    """Engines that the provider can run."""
    offers: Sequence[Offer] | None = None
    """What the provider rents; None: replicas are placed on nodes."""
    offers_unknown: str = ""
    """Why it is not known what the provider rents."""
    offers_restricted: bool = False
    """Only offers that the pool's ``provider_pool_id`` means may be taken."""
    shares_nodes: bool = False
    """``max_nodes`` counts nodes in use, not replicas."""

    @cached_property
    def total(self) -> Reservation:
        """What replicas hold of the whole pool."""
        held = self.reserved.values()
        return Reservation(
            sum(item.replicas for item in held),
            sum(item.gpus for item in held),
            sum(item.price_per_hour for item in held),
        )

    @cached_property
    def places(self) -> Sequence[Place]:
        """Every place of the pool, in the order of its nodes or offers."""
        if self.offers is not None:
            return [_of_offer(offer, self.pool) for offer in self.offers]
        return [_of_node(node, self) for node in self.nodes]

    @cached_property
    def nodes_in_use(self) -> int:
        """Nodes that hold at least one replica."""
        return sum(bool(node_id) and held.replicas > 0 for node_id, held in self.reserved.items())


def takes_replicas(state: NodeState) -> bool:
    """Whether a node in this state takes new replicas."""
    return state in {NodeState.READY, NodeState.BUSY}


def _of_node(node: Node, view: PoolView) -> Place:
    held = view.reserved.get(node.id, Reservation())
    name = node.hostname or node.provider_instance_id
    total = min(node.gpu_total, view.pool.gpu_count or node.gpu_total)
    # An agent sees GPUs that something else uses; of a managed node the provider's own list is the truth.
    used = held.gpus if node.managed else max(held.gpus, node.gpu_reported)
    return Place(
        what=f"node {name!r}",
        gpu_type=node.gpu_type,
        gpu_total=total,
        gpu_free=min(total - held.gpus, node.gpu_total - used),
        vcpu_total=node.vcpu_total,
        region=node.region,
        price_per_hour=node.price_per_hour,
        replicas=held.replicas,
        node_id=node.id,
        node_state=node.state,
    )


def _of_offer(offer: Offer, pool: Pool) -> Place:
    priced = f" ({offer.pricing_model})" if offer.pricing_model else ""
    return Place(
        what=f"offer {offer.resource_id!r}{priced} of provider {pool.provider}",
        gpu_type=offer.gpu_type,
        gpu_total=offer.gpu_count,
        gpu_free=offer.gpu_count,
        vcpu_total=offer.vcpu,
        region=offer.region,
        price_per_hour=offer.price_per_hour,
        replicas=offer.held,
        resource_id=offer.resource_id,
        slug=offer.slug,
        pricing_model=offer.pricing_model,
        available=offer.available,
        nodes=offer.nodes,
        way=offer.way,
        one_node_because=offer.one_node_because,
        more_machines=offer.more_machines,
    )

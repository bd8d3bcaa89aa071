"""One control plane, its cloud and its callers, driven from outside: what was promised is remembered and held."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.child import Child, KilledError
from tests.chaos.invariants import Bounds, Findings, check, journal_findings
from tests.chaos.model import MUTATIONS, IllegalError, Model, broken_promises
from tests.chaos.plane import PROVIDER, Dump, PlaneConfig
from tests.support.cloud.process import CloudProcess

SETTLED = ("RUNNING", "STOPPED", "FAILED")
PRICE_CAP = 5.0
POOLS = ("main", "spare")
_GPUS = 8
_PRICE = 1.0
_OFFERS = [{"resource_id": name, "gpu_count": _GPUS, "price_per_hour": _PRICE} for name in POOLS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """How the cloud's machines are offered."""

    name: str
    kind: str
    places_on_nodes: bool = False


MACHINE = Placing(name="machine", kind="local")
"""Every pool has the cloud's machine as a node that the gateway keeps."""
OFFERS = Placing(name="offers", kind="marketplace")
"""Every pool is a market in which machines are rented."""
NODES = Placing(name="nodes", kind="cluster", places_on_nodes=True)
"""Every pool has two nodes whose agents send heartbeats."""
PLACINGS = (MACHINE, OFFERS, NODES)
NODE_GPUS = 4
_NODES = {"main-0": "main", "main-1": "main", "spare-0": "spare", "spare-1": "spare"}


@dataclass(slots=True)
class World:
    """A control plane that may die, and what everybody else knows."""

    cloud: CloudProcess
    account: str
    folder: Path
    placing: Placing = MACHINE
    trace: bool = False
    model: Model = field(default_factory=Model)
    pools: dict[str, str] = field(default_factory=dict[str, str])
    """Ids by name."""
    agents: set[str] = field(default_factory=set[str])
    """Nodes whose agents live."""
    began: float = 0.0
    available: dict[str, int] = field(default_factory=lambda: dict.fromkeys(POOLS, 1000))
    """Machines of each pool's market."""
    wanted: dict[str, int] = field(default_factory=dict[str, int])
    """By deployment id, the most replicas that were ever wanted, and the surge."""
    surge: dict[str, int] = field(default_factory=dict[str, int])
    kills: int = 0
    accepts: int = 0
    findings: Findings = field(default_factory=Findings)
    _child: Child | None = None
    _numbers: int = 0

    @classmethod
    def make(cls, cloud: CloudProcess, account: str, folder: Path, **options: Any) -> World:
        """An empty world with two pools, at rest."""
        folder.mkdir(parents=True)
        world = cls(cloud, account, folder, **options)
        cloud.make(account, offers=_OFFERS if world.placing is OFFERS else _OFFERS[:1])
        world.start()
        for name in POOLS:
            body = {"pool_name": name, "owner_type": "user", "owner_id": "ann", "provider": PROVIDER}
            if world.placing is not MACHINE:
                body["provider_pool_id"] = name
            made = world.child.call("call", "RegisterPool", {**body, "max_cost_per_hour": PRICE_CAP})
            assert "error" not in made, made
            world.pools[name] = made["pool_id"]
        if world.placing is NODES:
            for name in _NODES:
                world.register(name)
            world.child.call("set_agents", list(world.agents))
        world.child.call("let_pass", 2.0)
        return world

    def register(self, node: str) -> None:
        """A node joins its pool, and its agent begins to send heartbeats."""
        body = {"provider": PROVIDER, "provider_instance_id": node, "pool_id": self.pools[_NODES[node]]}
        size = {"gpu_type": "h100", "gpu_total": NODE_GPUS, "vcpu_total": 64, "ram_gb_total": 512}
        self.child.call("call", "RegisterNode", {**body, **size, "price_per_hour": _PRICE, "hostname": node})
        self.agents.add(node)

    def offer(self, pool: str, available: int) -> None:
        """So many machines are to be had in a pool's market."""
        self.available[pool] = available
        offers = [{**offer, "available": self.available[str(offer["resource_id"])]} for offer in _OFFERS]
        self.cloud.change(self.account, offers=offers)

    def lose(self, node: str) -> None:
        """A node is gone, with its agent and all that ran on it."""
        self.cloud.change(self.account, lose=[node])
        self.agents.discard(node)
        self.child.call("set_agents", list(self.agents))

    def copy(self, account: str, folder: Path, **options: Any) -> World:
        """The same as this one, which is at rest and stopped, with a cloud of its own."""
        self.cloud.make(account, offers=_OFFERS if self.placing is OFFERS else _OFFERS[:1])
        shutil.copytree(self.folder, folder)
        pools, agents, now = dict(self.pools), set(self.agents), self.now()
        return World(self.cloud, account, folder, self.placing, pools=pools, agents=agents, began=now, **options)

    def now(self) -> float:
        """The latest time that the world has seen."""
        return max(self.began, float(self.cloud.look(self.account)["now"]))

    @property
    def child(self) -> Child:
        """The process that runs now."""
        assert self._child is not None
        return self._child

    def start(self, kill_at: int | None = None) -> None:
        """Start the control plane; it kills itself at that point. Raises `KilledError`."""
        config = PlaneConfig(
            folder=self.folder,
            cloud_url=self.cloud.url,
            account=self.account,
            kind=self.placing.kind,
            places_on_nodes=self.placing.places_on_nodes,
            agents=tuple(self.agents),
            kill_at=kill_at,
            trace=self.trace,
        )
        self._child = Child(config, self.now())
        self.child.call("start")

    def stop(self) -> None:
        """Stop it as it is stopped when all is well."""
        self.child.call("close")
        self.child.kill()

    def kill(self) -> None:
        """Kill it now."""
        self.child.kill()
        self.kills += 1

    def request_id(self) -> str:
        """A request id that was not used yet."""
        self._numbers += 1
        return f"request-{self._numbers}"

    def body(self, method: str, key: str, fields: Mapping[str, Any], request_id: str) -> dict[str, Any]:
        """The request of a mutation of the deployment that its callers call `key`."""
        if method == "DeployModel":
            base: dict[str, Any] = {"model_name": "m", "inference_model": "m", "engine": "custom", "gpu_per_replica": 1}
            base["configuration"] = {"command": ["serve"], "image": "serve:1", "startup_timeout_seconds": 30}
            base["labels"] = {"key": key}
            given: dict[str, Any] = {"pool_id": self.pools["main"], **base, **fields}
            given["pool_id"] = self.pools.get(given["pool_id"], given["pool_id"])
            given["fallback_pool_ids"] = [self.pools[name] for name in given.get("fallback_pool_ids", ())]
        else:
            given = {"deployment_id": self.model.promises[key].deployment_id, **fields}
        return {**given, "request_id": request_id}

    def mutate(self, method: str, key: str, fields: Mapping[str, Any], request_id: str) -> dict[str, Any]:
        """Ask for a change; its answer is a promise. Raises `KilledError`."""
        assert method in MUTATIONS, method
        body = self.body(method, key, fields, request_id)
        answer: dict[str, Any] = self.child.call("call", method, body)
        self.promised(method, key, body, answer)
        return answer

    def promised(self, method: str, key: str, body: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Remember an answer."""
        try:
            self.model = self.model.after(method, key, body, answer)
        except IllegalError as error:
            self.findings.other.append(f"granted: {error}")
        if "error" not in answer:
            self.accepts += 1
            self.note_wanted(key, body)

    def note_wanted(self, key: str, body: Mapping[str, Any]) -> None:
        """Remember how many instances the deployment may have at once."""
        promise = self.model.promises.get(key)
        if promise is not None and promise.deployment_id:
            surge = body.get("update_strategy", {}).get("max_surge", 0)
            self.surge[key] = max(self.surge.get(key, 0), surge)
            most = max(promise.replicas, body.get("replicas", 0)) + self.surge[key]
            self.wanted[promise.deployment_id] = max(self.wanted.get(promise.deployment_id, 0), most)

    def settle(self, within_s: float = 200.0, allowed: Sequence[str] = SETTLED) -> float:
        """Wait until nothing is left to do; the seconds that took. What is left then is a finding."""
        took, left = self.child.call("settle", within_s, allowed)
        if left:
            self.findings.other.append(f"not settled after {took:.0f} s: {left}")
        return float(took)

    def check(self, *allowed: Model) -> Dump:
        """Hold everything against what must be; the promises against any of the models that may be true."""
        dump: Dump = self.child.call("dump")
        self.findings.add(check(dump, self.cloud.look(self.account), self._bounds()))
        broken = [broken_promises(model, dump) for model in (self.model, *allowed)]
        if all(broken):
            self.findings.lost += broken[0]
        return dump

    def check_journal(self) -> None:
        """Hold what was ever run against what must be."""
        self.findings.add(journal_findings(self.cloud.look(self.account), self._bounds()))

    def _bounds(self) -> Bounds:
        return Bounds(
            live=self.wanted,
            pool_price={**dict.fromkeys(POOLS, PRICE_CAP), "": PRICE_CAP * len(POOLS)},
            pool_gpus=dict.fromkeys(POOLS, _GPUS),
            node_gpus=dict.fromkeys(_NODES, NODE_GPUS),
        )

    def end(self) -> None:
        """End everything; nothing is left but the folder."""
        if self._child is not None:
            self._child.kill()
        self.cloud.forget(self.account)


__all__ = ["KilledError", "World"]

"""One control plane, its cloud and its callers, driven from outside: what was promised is remembered and held."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.child import Child, KilledError
from tests.chaos.invariants import Bounds, Findings, check, journal_findings
from tests.chaos.model import MUTATIONS, Model, broken_promises
from tests.chaos.plane import PROVIDER, Dump, PlaneConfig
from tests.support.cloud.process import CloudProcess

SETTLED = ("RUNNING", "STOPPED", "FAILED")
PRICE_CAP = 5.0
POOLS = ("main", "spare")
_GPUS = 8
_PRICE = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """How the cloud's machines are offered."""

    name: str
    kind: str
    places_on_nodes: bool = False


MACHINE = Placing(name="machine", kind="local")
"""Every pool has the cloud's machine as a node that the gateway keeps."""
PLACINGS = {placing.name: placing for placing in (MACHINE,)}


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
        cloud.make(account, offers=[{"resource_id": "big", "gpu_count": _GPUS, "price_per_hour": _PRICE}])
        folder.mkdir(parents=True)
        world = cls(cloud, account, folder, **options)
        world.start()
        for name in POOLS:
            body = {"pool_name": name, "owner_type": "user", "owner_id": "ann", "provider": PROVIDER}
            made = world.child.call(
                "call", "RegisterPool", {**body, "provider_pool_id": name, "max_cost_per_hour": PRICE_CAP}
            )
            world.pools[name] = made["pool_id"]
        return world

    def copy(self, account: str, folder: Path, **options: Any) -> World:
        """The same as this one, which is at rest and stopped, with a cloud of its own."""
        self.cloud.make(account, offers=[{"resource_id": "big", "gpu_count": _GPUS, "price_per_hour": _PRICE}])
        shutil.copytree(self.folder, folder)
        return World(self.cloud, account, folder, self.placing, pools=dict(self.pools), **options)

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
            kill_at=kill_at,
            trace=self.trace,
        )
        self._child = Child(config, self.cloud.look(self.account)["now"])
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
            base = {"model_name": "m", "inference_model": "m", "engine": "custom", "gpu_per_replica": 1}
            base |= {"configuration": {"command": ["serve"], "image": "serve:1"}, "labels": {"key": key}}
            given = {"pool_id": self.pools["main"], **base, **fields}
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
        self.model = self.model.after(method, key, body, answer)
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
            pool_price=dict.fromkeys(POOLS, PRICE_CAP),
            pool_gpus=dict.fromkeys(POOLS, _GPUS),
        )

    def end(self) -> None:
        """End everything; nothing is left but the folder."""
        if self._child is not None:
            self._child.kill()
        self.cloud.forget(self.account)


__all__ = ["KilledError", "World"]

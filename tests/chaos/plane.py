"""The control plane in a process without servers: a real store on its file, all controllers, and every use case."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from google.protobuf import json_format, message_factory
from prometheus_client import CollectorRegistry

from orchestration.service.clock import SteadyClock
from orchestration.service.control import Parts, build_controllers, build_registrars
from orchestration.service.controllers.health import probe_session
from orchestration.service.domain.status import deployment_status
from orchestration.service.logs.collector import LogCollector
from orchestration.service.logs.store import LogStore
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.rpc.errors import failure_of
from orchestration.service.rpc.validation import check
from orchestration.service.settings import Settings
from orchestration.service.usecases.managed_nodes import ManagedNodes
from orchestration.store import catchup, follower
from orchestration.store.index import Index
from orchestration.store.records import KINDS, Deployment, DesiredState, Node, Record, Replica, ReplicaState
from orchestration.store.store import Store
from orchestration.v1 import compute_pools_pb2, model_deployments_pb2, model_registry_pb2
from tests.chaos.points import Points
from tests.chaos.skipping import Busy
from tests.support.cloud.provider import CloudProvider, cloud_capabilities

PROVIDER = "cloud"
FULL = {"PRICE_CAP_REACHED", "NO_FREE_GPUS", "POOL_FULL", "NODE_FULL", "NO_CAPACITY", "NODE_NOT_READY"}
"""Why a replica may wait for ever."""
_TRIED_S = 1.0
"""So long after it was due, the next attempt was made if there was room."""
_FOLLOW_S = 2.0
"""How often it is looked what other processes have written: there are none, and each look is a hundred points."""
_SERVICES = (
    compute_pools_pb2.DESCRIPTOR.services_by_name["ComputePoolManagerService"],
    model_registry_pb2.DESCRIPTOR.services_by_name["ModelRegistryService"],
    model_deployments_pb2.DESCRIPTOR.services_by_name["ModelDeploymentService"],
)
_METHODS = {method.name: method for service in _SERVICES for method in service.methods}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneConfig:
    """What a control plane is started with."""

    folder: Path
    cloud_url: str
    account: str
    kind: str = "local"
    """Of the provider's capabilities."""
    places_on_nodes: bool = False
    knobs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    agents: Sequence[str] = ()
    """Nodes whose agents send heartbeats."""
    kill_at: int | None = None
    """The point at which the process kills itself, counted from its start; see `points`."""
    trace: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """Everything that is on the disk, and what callers are shown."""

    records: Mapping[str, Sequence[Any]]
    """By kind, read from the database anew."""
    differs: Sequence[str]
    """Records of the memory index that are not what is on the disk."""
    shown: Mapping[str, str]
    """Status of each deployment as callers see it."""
    lines: Mapping[str, Sequence[str]]
    """Kept log lines by deployment."""
    reached: int
    now: float

    def deployments(self) -> list[Deployment]:
        """Every deployment."""
        return list(self.records[Deployment.kind])

    def replicas(self, deployment_id: str) -> list[Replica]:
        """The replicas of a deployment."""
        return [item for item in self.records[Replica.kind] if item.deployment_id == deployment_id]


class _Handlers:
    """Takes the place of a server, and keeps what is registered."""

    def __init__(self) -> None:
        self.by_name: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Sequence[object]) -> None:
        """Nothing to keep: the same handlers come by name."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        """Keep them."""
        del service_name
        self.by_name.update(method_handlers)


class Plane:
    """One control plane, at work between `start` and `close`."""

    def __init__(self, config: PlaneConfig, points: Points, busy: Busy) -> None:
        self._config = config
        self._points = points
        self._busy = busy
        self._stack = AsyncExitStack()
        self._handlers = _Handlers()
        self._agents = set(config.agents)

    async def start(self) -> None:
        """Open everything and begin to work."""
        config = self._config
        follower.SQLITE_POLL_S = _FOLLOW_S
        settings = Settings(data_dir=config.folder, **config.knobs)
        clock = SteadyClock()
        self.store = await Store.open(settings.database_url, clock=clock)
        self._stack.push_async_callback(self.store.close)
        calls = await self._stack.enter_async_context(aiohttp.ClientSession(trace_configs=[self._trace()]))
        provider = CloudProvider(
            PROVIDER,
            f"{config.cloud_url}/a/{config.account}",
            owner=self.store.installation_id,
            capabilities=cloud_capabilities(kind=config.kind, places_on_nodes=config.places_on_nodes),
            session=calls,
            reached=self._points.reach,
        )
        self._calls = calls
        providers = ProviderRegistry({PROVIDER: provider}, clock=clock)
        self._stack.push_async_callback(providers.close)
        await providers.start()
        self._logs = LogStore(
            config.folder / "logs", segment_bytes=65_536, max_bytes_per_deployment=1 << 24, max_age_s=86_400
        )
        self._stack.push_async_callback(self._logs.close)
        collector = LogCollector(self._logs)
        self._stack.push_async_callback(collector.close)
        probes = await self._stack.enter_async_context(probe_session())
        probes.trace_configs.append(self._trace())
        parts = Parts(settings, self.store, providers, self._logs, collector, probes, CollectorRegistry(), clock)
        managed = ManagedNodes(self.store, providers, parts.clock)
        await managed.refresh()
        for register in build_registrars(parts, managed, lambda: "http://gateway"):
            register(self._handlers)
        controllers = build_controllers(parts, managed)
        self._stack.push_async_callback(controllers.close)
        self.store.on_recovery(controllers.manager.wake_all)
        controllers.start()
        self._heartbeats = asyncio.create_task(self._beat())

    def _trace(self) -> aiohttp.TraceConfig:
        trace = aiohttp.TraceConfig()

        async def started(*_: object) -> None:
            self._busy.count += 1

        async def ended(*_: object) -> None:
            self._busy.count -= 1

        trace.on_request_start.append(started)
        trace.on_request_end.append(ended)
        trace.on_request_exception.append(ended)
        trace.freeze()
        return trace

    async def _beat(self) -> None:
        """The nodes' agents, which live as long as their nodes."""
        while True:
            for node in list(self._agents):
                await self.call("Heartbeat", {"provider": PROVIDER, "provider_instance_id": node, "state": "READY"})
            await asyncio.sleep(3.0)

    async def set_agents(self, agents: Sequence[str]) -> None:
        """Change which nodes have an agent that lives."""
        self._agents = set(agents)

    async def call(self, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Call an RPC; gives its answer, or ``{"error": code, "reason": ...}``."""
        described = _METHODS[method]
        request = json_format.ParseDict(dict(body), message_factory.GetMessageClass(described.input_type)())
        try:
            check(request)
            answer = await self._handlers.by_name[method].unary_unary(request, None)
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                raise
            reason = getattr(failure.details[0], "reason", "") if failure.details else ""
            return {"error": failure.code.name, "reason": reason, "message": failure.message}
        return dict(json_format.MessageToDict(answer, preserving_proto_field_name=True))

    async def calls(self, wanted: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
        """Call all of them at once."""
        return list(await asyncio.gather(*(self.call(method, body) for method, body in wanted)))

    async def let_pass(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def settle(self, within_s: float, allowed: Sequence[str]) -> tuple[float, str]:
        """Wait until nothing is left to do; gives the seconds that took, and what is left when it took too long.

        ``allowed``: statuses in which a deployment may rest. None given: any in which each of its replicas is ready,
        was given up, or waits for room.
        """
        began = asyncio.get_running_loop().time()
        while True:
            left = await self._unsettled(allowed)
            took = asyncio.get_running_loop().time() - began
            if not left or took > within_s:
                return took, left
            await asyncio.sleep(0.2)

    async def _unsettled(self, allowed: Sequence[str]) -> str:
        for deployment in self.store.index.all(Deployment):
            replicas = self.store.index.find(Replica, deployment_id=deployment.id)
            status = deployment_status(deployment, replicas)
            if status != deployment.observed_status:
                return f"{deployment.id} is {status}, and told was {deployment.observed_status}"
            states = [f"{item.state} {item.reason}" for item in replicas]
            if allowed and status not in allowed:
                return f"{deployment.id} is {status}: {states}"
            waits = any(item.state is ReplicaState.PENDING for item in replicas)
            now = self.store.clock()
            moves = status == "TERMINATING" or (status == "UPDATING" and not waits)
            if moves or not all(_rests(item, now) for item in replicas):
                return f"{deployment.id} is {status}, and does not rest: {states}"
            wanted = deployment.replicas if deployment.desired is DesiredState.RUNNING else 0
            if len(replicas) != wanted and not waits:
                return f"{deployment.id} has {len(replicas)} replicas, {wanted} are wanted"
        return await self._strays()

    async def _strays(self) -> str:
        named = {item.instance_name for item in self.store.index.all(Replica) if item.instance_name}
        async with self._calls.get(f"{self._config.cloud_url}/control/{self._config.account}") as answer:
            instances = (await answer.json())["instances"]
        there = {item["name"] for item in instances}
        ill = [item["name"] for item in instances if item["state"] != "RUNNING" or not item["healthy"]]
        if ill:
            return f"nobody has noticed that {ill} do not serve"
        return "" if named == there else f"instances without a row: {there - named}, rows without: {named - there}"

    async def dump(self) -> Dump:
        """Everything, read anew."""
        fresh = Index()
        async with self.store.database.snapshot() as snapshot:
            await catchup.load(snapshot, fresh)
        records: dict[str, list[Record]] = {cls.kind: list(fresh.all(cls)) for cls in KINDS}
        differs = [line for cls in KINDS for line in _differences(fresh.all(cls), self.store.index.all(cls))]
        shown: dict[str, str] = {}
        lines: dict[str, list[str]] = {}
        for deployment in fresh.all(Deployment):
            shown[deployment.id] = (await self.call("GetDeployment", {"deployment_id": deployment.id}))["status"]
            told = await self.call("GetDeploymentLogs", {"deployment_id": deployment.id, "tail": 5000})
            lines[deployment.id] = [item["message"] for item in told.get("logs", [])]
        now = self.store.clock()
        return Dump(records=records, differs=differs, shown=shown, lines=lines, reached=self._points.reached, now=now)

    async def trace(self) -> list[tuple[str, str]]:
        """The points that were reached since they were last counted anew."""
        return list(self._points.trace)

    async def arm(self, kill_at: int | None) -> None:
        """Count points anew from here, and die at that one."""
        self._points.arm(kill_at)

    async def disarm(self) -> int:
        """Die at none; gives how many points were reached until now."""
        return self._points.disarm()

    async def close(self) -> None:
        """Stop as the gateway does when it is told to."""
        self._heartbeats.cancel()
        await asyncio.gather(self._heartbeats, return_exceptions=True)
        await self._stack.aclose()


def _rests(replica: Replica, now: float) -> bool:
    """Whether nothing more is done about a replica until something changes."""
    match replica.state:
        case ReplicaState.READY:
            return True
        case ReplicaState.FAILED:
            return replica.retry_at == 0.0 and not replica.instance_name
        case ReplicaState.PENDING:
            return replica.reason in FULL and replica.retry_at + _TRIED_S <= now
        case _:
            return False


def _differences(disk: Sequence[Record], memory: Sequence[Record]) -> list[str]:
    """Records that are not the same in both; of nodes only which revision, as their liveness is written later."""
    on_disk = {item.id: item for item in disk}
    in_memory = {item.id: item for item in memory}
    found: list[str] = []
    for id_ in on_disk.keys() | in_memory.keys():
        one, other = on_disk.get(id_), in_memory.get(id_)
        same = one == other
        if isinstance(one, Node) and isinstance(other, Node):
            same = one.revision == other.revision
        if not same:
            found.append(f"on disk {one}, in memory {other}")
    return found

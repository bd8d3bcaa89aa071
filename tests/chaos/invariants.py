"""What must hold whatever was killed when: found from the disk, and from what the cloud has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from orchestration.service.domain.status import deployment_status
from orchestration.store.records import Node, Pool, Replica
from tests.chaos.plane import Dump


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a scenario must keep within."""

    live: Mapping[str, int] = field(default_factory=dict[str, int])
    """By deployment id, the most instances at once: the most replicas that were wanted, and the surge."""
    pool_price: Mapping[str, float] = field(default_factory=dict[str, float])
    """By provider_pool_id, the price cap."""
    pool_gpus: Mapping[str, int] = field(default_factory=dict[str, int])
    node_gpus: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(slots=True)
class Findings:
    """What was found wrong, sorted by promise."""

    lost: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])
    orphaned: list[str] = field(default_factory=list[str])
    other: list[str] = field(default_factory=list[str])

    def all(self) -> list[str]:
        """Everything, each with what it is."""
        return [f"{name}: {text}" for name in self.__slots__ for text in getattr(self, name)]

    def add(self, more: Findings) -> None:
        """Take in more."""
        for name in self.__slots__:
            getattr(self, name).extend(getattr(more, name))


def check(dump: Dump, cloud: Mapping[str, Any], bounds: Bounds) -> Findings:
    """Everything that must hold when there is nothing left to do."""
    findings = Findings()
    findings.other += [f"memory is not the disk: {text}" for text in dump.differs]
    findings.other += _statuses(dump)
    findings.other += _lines(dump)
    findings.orphaned += _orphans(dump, cloud)
    findings.add(journal_findings(cloud, bounds))
    return findings


def _statuses(dump: Dump) -> list[str]:
    found: list[str] = []
    for deployment in dump.deployments():
        status = deployment_status(deployment, dump.replicas(deployment.id))
        told = {"shown": dump.shown[deployment.id], "told": deployment.observed_status}
        found += [f"{deployment.id} is {status}, {what} is {text}" for what, text in told.items() if text != status]
    return found


def _orphans(dump: Dump, cloud: Mapping[str, Any]) -> list[str]:
    replicas: Sequence[Replica] = dump.records[Replica.kind]
    named = {item.instance_name for item in replicas if item.instance_name}
    found = [f"{item['name']} runs, and no row knows it" for item in cloud["instances"] if item["name"] not in named]
    there = {item["name"] for item in cloud["instances"]}
    found += [f"{name} is in a row, and nothing runs" for name in named - there]
    known = {item.id for item in dump.deployments()}
    found += [f"replica {item.id} is of no deployment" for item in replicas if item.deployment_id not in known]
    pools = {item.id: item.provider_pool_id for item in dump.records[Pool.kind]}
    placed = {entry["name"]: entry["provider_pool_id"] for entry in cloud["journal"]}
    found += [
        f"{item.instance_name} runs in pool {placed[item.instance_name]}, its row says {pools[item.pool_id]}"
        for item in replicas
        if item.instance_name in there and placed[item.instance_name] != pools[item.pool_id]
    ]
    nodes = {item.id for item in dump.records[Node.kind]}
    found += [f"replica {item.id} is on no node" for item in replicas if item.node_id and item.node_id not in nodes]
    return found


def _lines(dump: Dump) -> list[str]:
    """Every kept line once, and of each instance from the first on without a gap."""
    found: list[str] = []
    for deployment_id, lines in dump.lines.items():
        numbers: dict[str, list[int]] = {}
        for line in lines:
            name, _, number = line.partition(" line ")
            numbers.setdefault(name, []).append(int(number))
        for name, told in numbers.items():
            if told != list(range(len(told))):
                found.append(f"the log of {deployment_id} has the lines {told} of {name}")
    return found


def journal_findings(cloud: Mapping[str, Any], bounds: Bounds) -> Findings:
    """What was too much at any time since the cloud began. Judged strictly only where no creation came late."""
    findings = Findings()
    strict = not cloud["faults"].get("create:late")
    live: dict[str, Mapping[str, Any]] = {}
    ending: set[str] = set()
    for entry in cloud["journal"]:
        if entry["what"] == "ended":
            live.pop(entry["instance_id"], None)
        elif entry["what"] == "deleted":
            ending.add(entry["instance_id"])
        elif entry["what"] == "created":
            live[entry["instance_id"]] = entry
            if strict:
                findings.doubled += _doubled(entry, list(live.values()), ending, bounds)
                findings.other += _too_much(entry, list(live.values()), bounds)
    return findings


def _doubled(
    entry: Mapping[str, Any], live: Sequence[Mapping[str, Any]], ending: AbstractSet[str], bounds: Bounds
) -> list[str]:
    """Attempts of one replica never overlap; of a deployment, those that were told to end are no longer counted.

    Where a deployment is scaled down and up again, the new replicas do not wait for those that end.
    """
    names = [item["name"] for item in live if item["replica_id"] == entry["replica_id"]]
    found = [f"replica {entry['replica_id']} had {names} at once"] if len(names) > 1 else []
    deployment_id = entry["deployment_id"]
    count = sum(item["deployment_id"] == deployment_id and item["instance_id"] not in ending for item in live)
    most = bounds.live.get(deployment_id)
    if most is not None and count > most:
        found.append(f"{deployment_id} had {count} instances at once, {most} are the most that it may")
    return found


def _too_much(entry: Mapping[str, Any], live: Sequence[Mapping[str, Any]], bounds: Bounds) -> list[str]:
    pool = entry["provider_pool_id"]
    inside = [item for item in live if item["provider_pool_id"] == pool]
    found: list[str] = []
    price = sum(item["price_per_hour"] for item in inside)
    if pool in bounds.pool_price and price > bounds.pool_price[pool] + 1e-9:
        found.append(f"pool {pool} cost {price}/h at once, over its cap of {bounds.pool_price[pool]}")
    gpus = sum(item["gpu_count"] for item in inside)
    if pool in bounds.pool_gpus and gpus > bounds.pool_gpus[pool]:
        found.append(f"pool {pool} used {gpus} GPUs at once, of {bounds.pool_gpus[pool]}")
    node = entry["node"]
    gpus = sum(item["gpu_count"] for item in live if item["node"] == node)
    if node in bounds.node_gpus and gpus > bounds.node_gpus[node]:
        found.append(f"node {node} used {gpus} GPUs at once, of {bounds.node_gpus[node]}")
    return found

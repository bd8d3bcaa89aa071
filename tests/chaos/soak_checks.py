"""What must be true when the kills are over: everything that was accepted, once, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.soak_engines import Engine, engines
from tests.chaos.soak_ledger import Kind, Ledger, Promise
from tests.support.gateway import Rest

_LOG_LINES = 5000


@dataclass(slots=True)
class Findings:
    """What is wrong, by what kind of wrong it is."""

    lost: list[str] = field(default_factory=list[str])
    """Accepted, and not so."""
    duplicates: list[str] = field(default_factory=list[str])
    """There more often than it should be."""
    orphans: list[str] = field(default_factory=list[str])
    """There, and nobody's."""
    lines: list[str] = field(default_factory=list[str])
    """Log lines that are missing, out of order, or there twice."""

    @property
    def all(self) -> list[str]:
        """Every one."""
        return [*self.lost, *self.duplicates, *self.orphans, *self.lines]


class Checker:
    """Holds the promises against what the gateway says and against what the machine runs."""

    def __init__(self, ledger: Ledger, rest: Rest, data_dir: Path, *, log_folders: bool) -> None:
        self._ledger = ledger
        self._rest = rest
        self._data_dir = data_dir
        self._log_folders = log_folders

    async def look(self) -> Findings:
        """Check everything once; the deployments may still be on their way."""
        found = Findings()
        running = engines(self._ledger.by_key())
        instances: set[str] = set()
        for promise in self._ledger.promises:
            mine = [engine for engine in running if engine.key == promise.key]
            instances |= await self._check_promise(promise, mine, found)
        await self._check_list(found)
        found.orphans += [
            f"engine {e.instance} of {e.key} is no replica's" for e in running if e.instance not in instances
        ]
        folder = self._data_dir / "providers" / "local" / "instances"
        found.orphans += [f"folder {path.name}" for path in folder.iterdir() if path.name not in instances]
        if self._log_folders:
            kept = {promise.id for promise in self._ledger.promises if not promise.purged}
            logs = [path.name for path in (self._data_dir / "logs").iterdir() if path.is_dir()]
            found.orphans += [f"log folder {name} of a purged deployment" for name in logs if name not in kept]
        return found

    async def _check_promise(self, promise: Promise, mine: Sequence[Engine], found: Findings) -> set[str]:
        """Gives the names of the instances that the deployment's replicas have."""
        status, answer = await self._rest.call("GET", f"/deployment/status/{promise.id}")
        if promise.purged:
            if status != 404:
                found.lost.append(f"{promise.key} was purged, and is answered {status}")
            return set()
        if status != 200:
            found.lost.append(f"{promise.key} was accepted, and is answered {status}")
            return set()
        self._check_status(promise, answer, found)
        self._check_engines(promise, mine, found)
        await self._check_events(promise, found)
        names = [str(replica["provider_instance_id"]).rpartition("/")[2] for replica in answer["replica_statuses"]]
        return {name for name in names if name}

    def _check_status(self, promise: Promise, answer: dict[str, Any], found: Findings) -> None:
        wanted = "STOPPED" if not promise.running else "RUNNING"
        if promise.running and promise.kind is Kind.BROKEN and promise.replicas:
            wanted = "FAILED"
        told = (answer["status"], answer["replicas"], answer["env"].get("SOAK_VERSION"))
        right = (wanted, promise.replicas, str(promise.version))
        if told != right:
            found.lost.append(f"{promise.key} is to be {right}, and is {told}: {answer['error_message']}")

    def _check_engines(self, promise: Promise, mine: Sequence[Engine], found: Findings) -> None:
        right = [engine for engine in mine if engine.version == promise.version]
        if len(right) < promise.wanted:
            found.lost.append(f"{promise.key} has {len(right)} of {promise.wanted} engines")
        if len(mine) > promise.wanted:
            found.duplicates.append(f"{promise.key} has {len(mine)} engines, and {promise.wanted} are wanted")

    async def _check_events(self, promise: Promise, found: Findings) -> None:
        """Every accepted request has left its event, once."""
        answer = await self._rest.ok("GET", f"/deployment/events/{promise.id}?page_size=1000")
        reasons = Counter(event["reason"] for event in answer["events"])
        for reason, count in promise.events.items():
            if reasons[reason] < count:
                found.lost.append(f"{promise.key}: {reasons[reason]} of {count} {reason}")
            if reasons[reason] > count:
                found.duplicates.append(f"{promise.key}: {reasons[reason]} {reason}, of {count}")

    async def _check_list(self, found: Findings) -> None:
        kept = {promise.id for promise in self._ledger.promises if not promise.purged}
        answer = await self._rest.ok("GET", "/deployment/deployments?page_size=1000")
        listed = [item["deployment_id"] for item in answer["deployments"]]
        found.duplicates += [f"deployment {name} was never accepted" for name in listed if name not in kept]
        found.lost += [f"deployment {name} is not listed" for name in kept if name not in listed]

    async def look_at_logs(self) -> tuple[int, list[str]]:
        """How many lines there are, and what is wrong with them."""
        wrong: list[str] = []
        total = 0
        for promise in self._ledger.promises:
            if not promise.purged:
                path = f"/deployment/logs/{promise.id}?tail={_LOG_LINES}"
                status, answer = await self._rest.call("GET", path)
                if status != 200:
                    wrong.append(f"{promise.key}: its log is answered {status}")
                    continue
                lines = [line["message"] for line in answer["logs"]]
                total += len(lines)
                wrong += _wrong_lines(promise.key, lines)
        return total, wrong


def _wrong_lines(key: str, lines: Sequence[str]) -> list[str]:
    """Each engine numbers its lines from 0: they must be there once each and in order, from the first that is kept."""
    expected: dict[str, int] = {}
    begun: Counter[str] = Counter()
    wrong: list[str] = []
    for line in lines:
        words = line.split()
        if words[:2] == ["engine", "pid"]:
            begun[words[2]] += 1
        elif words[:1] == ["tick"]:
            pid, number = words[1], int(words[2])
            if (pid in expected and number != expected[pid]) or (
                pid not in expected and number and len(lines) < _LOG_LINES
            ):
                wrong.append(f"{key}: line {number} of engine {pid} where {expected.get(pid, 0)} belongs")
            expected[pid] = number + 1
    wrong += [
        f"{key}: the first line of engine {pid} is there {count} times" for pid, count in begun.items() if count > 1
    ]
    if len(lines) < _LOG_LINES:
        wrong += [f"{key}: the first line of engine {pid} is missing" for pid in expected if not begun[pid]]
    return wrong

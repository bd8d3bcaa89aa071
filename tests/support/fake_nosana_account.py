"""One account at the fake Nosana: deployments, their jobs, and what became of them.

The states, the moves between them and the texts of refusals are those of the real deployment manager. What a job does
stands in the environment of its definition: ``FAKE_LINES``, ``FAKE_DELAY_S``, ``FAKE_EXIT_CODE`` (absent: it serves
until it is stopped), ``FAKE_QUEUE_S`` (how long no host takes it), ``FAKE_OOM``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tests.support.ipfs_encoder import Blocks

NOBODY = "1" * 32
ZEROS = "QmNLei78zWmzUdbeRB3CiUfAizWUrbeeZh5K1rhAQKCh51"
_LETTERS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
MARKETS: list[dict[str, Any]] = [
    {"slug": "nvidia-4090", "name": "NVIDIA 4090", "gpu_types": ["NVIDIA RTX 4090"], "usd_reward_per_hour": "0.50"},
    {"slug": "nvidia-3090", "name": "NVIDIA 3090", "gpu_types": ["NVIDIA RTX 3090"], "usd_reward_per_hour": 0.2},
    {"slug": "2x-a100", "name": "2x NVIDIA A100", "gpu_types": ["NVIDIA A100"], "usd_reward_per_hour": 1.5},
]


class RefusedError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def wrong_state() -> RefusedError:
    """The real one says so with 500."""
    return RefusedError(500, "Deployment is in the incorrect state.")


def address() -> str:
    """As Solana's look."""
    return "".join(secrets.choice(_LETTERS) for _ in range(44))


def iso(seconds: float) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_ADDRESSES = {market["slug"]: address() for market in MARKETS}


@dataclass
class Job:
    """A job."""

    deployment: Deployment
    node: str = NOBODY
    state: str = "QUEUED"
    address: str = field(default_factory=address)
    created_at: float = field(default_factory=time.time)
    started_at: float = 0.0
    ended_at: float = 0.0
    lines: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    result: dict[str, Any] | None = None
    cid: str = ZEROS
    task: asyncio.Task[None] | None = None

    def env(self, name: str, default: str = "") -> str:
        """A variable of the definition."""
        return str(self.deployment.definition["ops"][0]["args"].get("env", {}).get(name, default))

    def wake(self) -> None:
        """Tell those who follow the log."""
        self.changed.set()
        self.changed = asyncio.Event()

    def frame(self) -> dict[str, Any]:
        """As in the stream of events of its deployment."""
        node = None if self.node == NOBODY else self.node
        times = {"timeStart": int(self.started_at), "timeEnd": int(self.ended_at)}
        return {"type": "job", "job": self.address, "state": self.state, "node": node, **times}

    def view(self, *, nodes: bool) -> dict[str, Any]:
        """As in the list of a deployment's jobs."""
        told = {
            "tx": "tx",
            "job": self.address,
            "deployment": self.deployment.id,
            "market": self.deployment.market,
            "revision": 1,
            "state": self.state,
            "time_start": int(self.started_at),
            "created_at": iso(self.created_at),
            "updated_at": iso(self.created_at),
        }
        return told | ({"node": None if self.node == NOBODY else self.node} if nodes else {})


@dataclass
class Deployment:
    """A deployment."""

    name: str
    market: str
    strategy: str
    timeout: int
    confidential: bool
    definition: dict[str, Any]
    created_at: float
    id: str = field(default_factory=address)
    status: str = "DRAFT"
    vault: str = field(default_factory=address)
    jobs: list[Job] = field(default_factory=list[Job])
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def set(self, status: str) -> None:
        """Move to a state, and tell those who listen."""
        self.status = status
        self.changed.set()
        self.changed = asyncio.Event()

    def view(self, base: str, *, told_endpoints: bool = True) -> dict[str, Any]:
        """As the API tells it."""
        args = self.definition["ops"][0]["args"]
        url = {"opId": "engine", "port": args["expose"][0]["port"], "url": f"{base}/service/{self.id}"}
        return {
            "id": self.id,
            "name": self.name,
            "vault": self.vault,
            "market": self.market,
            "owner": "owner",
            "status": self.status,
            "replicas": 1,
            "timeout": self.timeout,
            "strategy": self.strategy,
            "endpoints": [url] if told_endpoints else [],
            "confidential": self.confidential,
            "active_revision": 1,
            "active_jobs": sum(job.state in ("QUEUED", "RUNNING") for job in self.jobs),
            "created_at": iso(self.created_at),
            "updated_at": iso(self.created_at),
        }


@dataclass
class FakeAccount:
    """Everything of one API key."""

    base: str
    blocks: Blocks
    create_s: float = 0.0
    """How long a creation takes to be made."""
    start_s: float = 0.03
    queue_s: float = 0.0
    stop_s: float = 0.03
    minute_s: float = 60.0
    """How long a minute of a job's time-out lasts."""
    balance: float = 100.0
    funds_short: bool = False
    streams: bool = True
    nodes_told: bool = True
    endpoints_told: bool = True
    node_down: bool = False
    node_talks: bool = False
    """Hosts tell of their own work, too."""
    replay_last: int = 0
    """How many lines hosts still have of a log; 0: all."""
    results: str = "manager"
    """Where results come from: ``manager``, ``chain``, ``ipfs`` or ``never``."""
    raw_result: str = ""
    """JSON that stands for the result of every job, as a host may write anything; empty: their own results."""
    raw_padding: int = 0
    """Bytes that say nothing, after that."""
    sick: bool = False
    markets: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    deployments: dict[str, Deployment] = field(default_factory=dict[str, Deployment])
    journal: list[str] = field(default_factory=list[str])
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    planned: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """What goes wrong: the first of a call's name is taken at that call."""
    calls: dict[str, int] = field(default_factory=dict[str, int])
    _times: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.markets = [
            {"address": _ADDRESSES[it["slug"]], "type": "PREMIUM", "network_fee_percentage": 10, **it} for it in MARKETS
        ]

    def fault(self, call: str) -> str:
        """What goes wrong with this call; empty: nothing."""
        self.calls[call] = self.calls.get(call, 0) + 1
        for index, (name, fault) in enumerate(self.planned):
            if name == call:
                del self.planned[index]
                return fault
        return ""

    def get(self, deployment_id: str) -> Deployment:
        """The deployment. Raises `RefusedError`."""
        if deployment_id not in self.deployments:
            raise RefusedError(404, "Deployment not found")
        return self.deployments[deployment_id]

    def create(self, body: dict[str, Any]) -> Deployment:
        """Make a draft."""
        self.bodies.append(body)
        if body["market"] not in {market["address"] for market in self.markets}:
            raise RefusedError(400, "Market does not exist")
        if body["strategy"] not in ("SIMPLE", "SIMPLE-EXTEND", "INFINITE") or body["timeout"] < 1:
            raise RefusedError(400, "Invalid body")
        if not all(re.fullmatch(r"[A-Za-z0-9_-]+", op["id"]) for op in body["job_definition"]["ops"]):
            raise RefusedError(400, "Bad Request")
        made = Deployment(
            name=body["name"],
            market=body["market"],
            strategy=body["strategy"],
            timeout=body["timeout"],
            confidential=body.get("confidential", False),
            definition=body["job_definition"],
            created_at=time.time() + next(self._times) * 0.001,  # distinct, as the real ones are
        )
        self.deployments[made.id] = made
        self.journal.append(f"created {made.name}")
        return made

    def twin(self, deployment: Deployment) -> Deployment:
        """Make a draft like it, of the same name."""
        made = replace(deployment, id=address(), created_at=time.time(), status="DRAFT", jobs=[], events=[], task=None)
        made.changed = asyncio.Event()
        self.deployments[made.id] = made
        return made

    def start(self, deployment: Deployment) -> None:
        """Start it."""
        if deployment.status not in ("DRAFT", "STOPPED", "ERROR", "INSUFFICIENT_FUNDS"):
            raise wrong_state()
        deployment.set("STARTING")
        self.journal.append(f"started {deployment.name}")
        deployment.task = asyncio.create_task(self._run(deployment))

    async def _run(self, deployment: Deployment) -> None:
        await asyncio.sleep(self.start_s)
        if self.funds_short:
            self._event(deployment, "JOB_LIST_ERROR", "Insufficient credits")
            deployment.set("INSUFFICIENT_FUNDS")
            return
        deployment.set("RUNNING")
        self._list_job(deployment)

    def _list_job(self, deployment: Deployment) -> Job:
        job = Job(deployment)
        deployment.jobs.append(job)
        self._event(deployment, "JOB_LIST_CONFIRMED", job.address)
        job.task = asyncio.create_task(self._work(job))
        deployment.set(deployment.status)
        return job

    async def _work(self, job: Job) -> None:
        await asyncio.sleep(float(job.env("FAKE_QUEUE_S") or self.queue_s))
        job.node, job.state, job.started_at = address(), "RUNNING", time.time()
        job.deployment.set(job.deployment.status)
        life = asyncio.create_task(self._expire(job))
        for number in range(int(job.env("FAKE_LINES", "0"))):
            job.lines.append((time.time(), f"line {number}"))
            job.wake()
            await asyncio.sleep(float(job.env("FAKE_DELAY_S", "0")))
        if job.env("FAKE_EXIT_CODE"):
            life.cancel()
            self.end(job, "COMPLETED", exit_code=int(job.env("FAKE_EXIT_CODE")))

    async def _expire(self, job: Job) -> None:
        deployment = job.deployment
        while True:
            await asyncio.sleep(deployment.timeout * self.minute_s * 0.9)
            if job.state != "RUNNING":
                return
            if deployment.strategy != "SIMPLE-EXTEND":
                break
            self._event(deployment, "JOB_EXTEND_SUCCESSFUL", job.address)
        if deployment.strategy == "INFINITE":
            self._list_job(deployment)
        self.end(job, "COMPLETED", exit_code=137, expired=True)

    def end(self, job: Job, state: str, *, exit_code: int | None, expired: bool = False, lost: bool = False) -> None:
        """The job ends; its result comes if it ever had a host. `lost`: the host went away."""
        if job.state in ("COMPLETED", "STOPPED"):
            return
        had_host = job.node != NOBODY
        job.state, job.ended_at = state, time.time()
        if job.task is not None and job.task is not asyncio.current_task():
            job.task.cancel()
        if had_host and self.results != "never":
            self._result(job, state, exit_code, expired=expired, lost=lost)
        job.wake()
        deployment = job.deployment
        if deployment.status == "RUNNING" and all(item.state in ("COMPLETED", "STOPPED") for item in deployment.jobs):
            if deployment.strategy == "INFINITE":
                self._list_job(deployment)
            else:
                deployment.set("STOPPED")
        deployment.set(deployment.status)

    def _result(self, job: Job, state: str, exit_code: int | None, *, expired: bool, lost: bool) -> None:
        reason = {"hostShutDown": lost, "jobStopped": state == "STOPPED", "jobExpired": expired}
        logs = [{"type": "stdout", "log": f"{text}\n", "timestamp": iso(at)} for at, text in job.lines]
        result = {
            "status": "success" if exit_code == 0 else "failed",
            "startTime": int(job.started_at * 1000),
            "endTime": int(job.ended_at * 1000),
            "opStates": [
                {
                    "providerId": "p",
                    "operationId": "engine",
                    "group": "engine",
                    "status": "failed",
                    "startTime": int(job.started_at * 1000),
                    "endTime": int(job.ended_at * 1000),
                    "exitCode": exit_code,
                    "logs": logs,
                    "diagnostics": {"reason": reason, "state": {"OOMKilled": bool(job.env("FAKE_OOM"))}},
                }
            ],
        }
        if self.results == "ipfs":
            job.cid = self.blocks.file(json.dumps(result).encode(), chunk=4096)
        else:
            job.result = result

    def stop(self, deployment: Deployment) -> None:
        """Stop it; not while it is starting."""
        if deployment.status not in ("RUNNING", "ERROR", "INSUFFICIENT_FUNDS"):
            raise wrong_state()
        deployment.set("STOPPING")
        self.journal.append(f"stopping {deployment.name}")

        def stopped() -> None:
            for job in deployment.jobs:
                self.end(job, "STOPPED", exit_code=137)
            deployment.set("STOPPED")

        self._later(self.stop_s, stopped)

    def delete(self, deployment: Deployment) -> None:
        """Delete it, with all that is known of it."""
        if deployment.status == "ARCHIVED":
            raise RefusedError(500, "Cannot modify an archived deployment.")
        if deployment.status != "STOPPED":
            raise wrong_state()
        del self.deployments[deployment.id]
        self.journal.append(f"deleted {deployment.name}")
        deployment.set("GONE")

    def _event(self, deployment: Deployment, kind: str, message: str) -> None:
        deployment.events.insert(0, {"type": kind, "message": message, "created_at": iso(time.time())})

    def _later(self, seconds: float, effect: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, effect)

    def active(self, name: str) -> int:
        """Deployments of the name that cost something."""
        ends_with = [item for item in self.deployments.values() if item.name.endswith(f"-{name}")]
        return sum(item.status in ("STARTING", "RUNNING", "STOPPING") for item in ends_with)

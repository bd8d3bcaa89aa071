"""Callers of a gateway that is killed all the time: each sends a request again, by its key, until it is answered."""

from __future__ import annotations

import asyncio
import random
import sys
from typing import Any

import aiohttp

from tests.chaos.soak_gateway import DyingGateway
from tests.chaos.soak_ledger import Kind, Ledger, Promise
from tests.support.gateway import ENGINE

MOST_DEPLOYMENTS = 2
"""Live ones that one caller has."""
MOST_REPLICAS = 3
_AGAIN = {429, 499, 503, 504}
_REFUSED = {400, 404, 409}
_RUNNING = {"scale": 8, "update": 6, "terminate": 6, "start": 1, "purge": 1}
"""How often each request is chosen for a deployment that runs; those that cannot be right are refused."""
_STOPPED = {"scale": 1, "update": 1, "terminate": 1, "start": 2, "purge": 5}


class Driver:
    """One caller, with deployments of its own."""

    def __init__(
        self, name: str, seed: int, gateway: DyingGateway, ledger: Ledger, session: aiohttp.ClientSession, pool_id: str
    ) -> None:
        self._name = name
        self._random = random.Random(f"{seed} {name}")
        self._gateway = gateway
        self._ledger = ledger
        self._session = session
        self._pool_id = pool_id
        self._mine: list[Promise] = []
        self._sent = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Ask for one thing after the other until told to stop; what was begun is brought to its answer."""
        while not stop.is_set():
            await self._step()
            await asyncio.sleep(self._random.uniform(0.0, 0.1))

    async def _step(self) -> None:
        live = [promise for promise in self._mine if not promise.purged]
        if len(live) < MOST_DEPLOYMENTS:
            await self._deploy()
            return
        promise = self._random.choice(live)
        weights = _RUNNING if promise.running else _STOPPED
        match self._random.choices(list(weights), list(weights.values()))[0]:
            case "scale":
                await self._scale(promise)
            case "update" if promise.kind is Kind.STEADY:
                await self._update(promise)
            case "terminate":
                await self._terminate(promise)
            case "start":
                await self._start(promise)
            case "purge":
                await self._purge(promise)
            case _:
                await self._scale(promise)

    async def _deploy(self) -> None:
        kind = self._random.choices(list(Kind), [5, 3, 2])[0]
        promise = Promise(
            key=f"{self._name}-{len(self._mine)}",
            kind=kind,
            replicas=self._random.randint(1, MOST_REPLICAS),
            surge=self._random.choice([0, 0, 1]),
        )
        self._mine.append(promise)
        self._ledger.promises.append(promise)
        promise.begin(promise.replicas)
        answer = await self._ask(promise, "deploy", "POST", "/deployment/deploy", _request(promise, self._pool_id))
        if answer is None:
            self._ledger.faults.append(f"{promise.key}: a right deployment was refused")
            promise.purged = True
            return
        promise.id = str(answer["deployment_id"])
        promise.events["DEPLOYMENT_ACCEPTED"] += 1

    async def _scale(self, promise: Promise) -> None:
        replicas = self._random.randint(0, MOST_REPLICAS)
        promise.begin(replicas)
        body = {"deployment_id": promise.id, "replicas": replicas}
        if await self._ask(promise, "scale", "POST", "/deployment/scale", body) is not None:
            promise.events["DEPLOYMENT_SCALED"] += replicas != promise.replicas
            promise.replicas = replicas

    async def _update(self, promise: Promise) -> None:
        promise.begin(promise.replicas)
        body = {"env": _environment(promise, promise.version + 1)}
        if await self._ask(promise, "update", "PATCH", f"/deployment/update/{promise.id}", body) is not None:
            promise.events["DEPLOYMENT_UPDATED"] += 1
            promise.version += 1

    async def _terminate(self, promise: Promise) -> None:
        promise.begin(promise.replicas)
        body = {"deployment_id": promise.id}
        if await self._ask(promise, "terminate", "POST", "/deployment/terminate", body) is not None:
            promise.events["DEPLOYMENT_TERMINATED"] += promise.running
            promise.running = False

    async def _start(self, promise: Promise) -> None:
        promise.begin(promise.replicas)
        body = {"deployment_id": promise.id}
        if await self._ask(promise, "start", "POST", "/deployment/start", body) is not None:
            promise.events["DEPLOYMENT_STARTED"] += 1
            promise.running = True

    async def _purge(self, promise: Promise) -> None:
        promise.begin(promise.replicas)
        if await self._ask(promise, "purge", "DELETE", f"/deployment/delete/{promise.id}", None) is not None:
            promise.purged = True

    async def _ask(self, promise: Promise, what: str, method: str, path: str, body: object) -> dict[str, Any] | None:
        """The answer, or None when it was refused. The promise is changed by the caller before anyone else runs."""
        self._sent += 1
        key = f"{self._name}/{self._sent}"
        cut_off = False
        while True:
            base = await self._gateway.base()
            # It is in the database before it is sent to this gateway: it was accepted, and the answer was cut off.
            done = cut_off and self._gateway.has_answered(key)
            self._ledger.sent += 1
            try:
                async with self._session.request(
                    method, base + path, json=body, headers={"Idempotency-Key": key}
                ) as response:
                    status, answer = response.status, await response.json()
            except (aiohttp.ClientError, TimeoutError):
                self._ledger.unanswered += 1
                cut_off = True
                await asyncio.sleep(0.05)
                continue
            if status in _AGAIN:
                await asyncio.sleep(0.1)
                continue
            break
        promise.busy = False
        if status == 200:
            self._ledger.accepts[what] += 1
            self._ledger.kept += done
            return dict(answer)
        if status not in _REFUSED or answer["error"]["status"] not in {"FAILED_PRECONDITION"}:
            self._ledger.faults.append(f"{promise.key}: {what} was answered {status}: {answer}")
        self._ledger.refusals += 1
        return None


def _environment(promise: Promise, version: int) -> dict[str, str]:
    return {"SOAK_KEY": promise.key, "SOAK_VERSION": str(version)}


def _request(promise: Promise, pool_id: str) -> dict[str, Any]:
    end = ["--live", "0.3", "--exit", "3"] if promise.kind is Kind.BROKEN else []
    return {
        "model_name": promise.key,
        "engine": "custom",
        "pool_id": pool_id,
        "gpu_per_replica": 0,
        "replicas": promise.replicas,
        "env": _environment(promise, promise.version),
        "update_strategy": {"max_surge": promise.surge, "max_unavailable": 1},
        "restart_policy": {"max_attempts": 1 if promise.kind is Kind.BROKEN else 1000},
        "inference_model": "tiny",
        "configuration": {
            "command": [sys.executable, "-S", ENGINE, "{port}", "--tick", "0.25", *end],
            "stop_grace_seconds": 2,
        },
    }

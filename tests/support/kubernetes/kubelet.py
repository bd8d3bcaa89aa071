"""A scheduler and a kubelet of one: Pods run as processes of this machine, each with a loopback address of its own.

An address in place of a network namespace: where a Pod's command or environment says 0.0.0.0, it gets that instead.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol

from aiohttp import web

from tests.support.kubernetes.objects import Json, StatusError, stamp

GPU = "nvidia.com/gpu"
_POLL_S = 0.02
_BACK_OFF_S = 0.1


class Store(Protocol):
    """Where objects are, as `Objects` has them."""

    def find(self, resource: str, namespace: str | None = None) -> Iterator[Json]: ...
    def get(self, resource: str, namespace: str, name: str) -> Json: ...
    def touch(self, item: Json) -> None: ...
    def remove(self, resource: str, namespace: str, name: str) -> None: ...


class Kubelet:
    """Runs what is scheduled."""

    def __init__(self, objects: Store) -> None:
        self._objects = objects
        self._addresses = itertools.count(2)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        """By uid of the Pod, while they run."""
        self.logs: dict[str, list[tuple[int, str]]] = {}
        """By uid of the Pod: Unix nanoseconds, and the line."""
        self.previous: dict[str, list[tuple[int, str]]] = {}
        """The same of the container's last life, where it was restarted in place."""
        self.paused = False
        """Nothing is scheduled, and nothing ended: as if the node were lost."""

    def wake(self, pod: Json) -> None:
        """A Pod was made: look after it to its end."""
        uid = pod["metadata"]["uid"]
        self._tasks[uid] = asyncio.create_task(self._look_after(pod))

    async def close(self) -> None:
        """End everything."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for process in self.processes.values():
            if process.returncode is None:
                process.kill()
                await process.wait()

    def alive(self, pod: Json) -> bool:
        """Whether its process runs."""
        process = self.processes.get(pod["metadata"]["uid"])
        return process is not None and process.returncode is None

    async def _look_after(self, pod: Json) -> None:
        if not await self._schedule(pod):
            return None
        environment = await self._secrets(pod)
        if environment is None:
            return self._remove(pod)
        status = pod["status"]
        address = f"127.77.{os.getpid() % 250}.{next(self._addresses)}"
        status |= {"podIP": address, "hostIP": "127.0.0.1"}
        container = pod["spec"]["containers"][0]
        words = [_expanded(word, environment).replace("0.0.0.0", address) for word in container["command"]]
        environment = {key: value.replace("0.0.0.0", address) for key, value in environment.items()}
        while await self._live(pod, words, environment) and await self._back_off(pod):
            pass
        await self._until_deleted(pod)
        return None

    async def _live(self, pod: Json, words: list[str], environment: dict[str, str]) -> bool:
        """One life of the container; whether it ran."""
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        except OSError as error:
            text = f'exec: "{words[0]}": {error.strerror}'
            self._state(pod, "Failed", {"terminated": {"reason": "StartError", "exitCode": 128, "message": text}})
            return False
        self.processes[pod["metadata"]["uid"]] = process
        started = stamp()
        self._state(pod, "Running", {"running": {"startedAt": started}})
        await self._run(pod, process, started)
        return True

    async def _back_off(self, pod: Json) -> bool:
        """Whether the container is to live again, after a pause."""
        uid = pod["metadata"]["uid"]
        if pod["spec"]["restartPolicy"] != "Always" or "deletionTimestamp" in pod["metadata"]:
            return False
        self.previous[uid] = self.logs.pop(uid, [])
        (status,) = pod["status"]["containerStatuses"]
        status["lastState"] = status["state"]
        status["restartCount"] = status.get("restartCount", 0) + 1
        self._state(pod, "Running", {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}})
        await asyncio.sleep(_BACK_OFF_S)
        return self._exists(pod) and "deletionTimestamp" not in pod["metadata"]

    async def _schedule(self, pod: Json) -> bool:
        """Whether it got a node; tried until then, or until it is deleted."""
        while self._exists(pod):
            node, why = self._node_for(pod)
            if node and not self.paused:
                pod["spec"]["nodeName"] = node
                self._condition(pod, {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp()})
                return True
            if why and not self.paused:
                found = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
                if found not in pod["status"].get("conditions", []):
                    self._condition(pod, found)
            await asyncio.sleep(_POLL_S)
        return False

    def _node_for(self, pod: Json) -> tuple[str, str]:
        wanted = float(pod["spec"]["containers"][0]["resources"]["limits"].get(GPU, 0))
        nodes = list(self._objects.find("nodes"))
        for node in nodes:
            name, labels = node["metadata"]["name"], node["metadata"].get("labels", {})
            if node["spec"].get("unschedulable") or not _is_ready(node):
                continue
            if any(labels.get(key) != value for key, value in pod["spec"].get("nodeSelector", {}).items()):
                continue
            if wanted <= float(node["status"]["allocatable"].get(GPU, 0)) - self._held(name):
                return name, ""
        return "", f"0/{len(nodes)} nodes are available: {len(nodes)} Insufficient {GPU}."

    def _held(self, node: str) -> float:
        return sum(
            float(pod["spec"]["containers"][0]["resources"]["limits"].get(GPU, 0))
            for pod in self._objects.find("pods")
            if pod["spec"].get("nodeName") == node and pod["status"].get("phase") not in {"Failed", "Succeeded"}
        )

    async def _secrets(self, pod: Json) -> dict[str, str] | None:
        """The environment, once its Secret is there; None when the Pod was deleted before."""
        while self._exists(pod) and "deletionTimestamp" not in pod["metadata"]:
            try:
                found: dict[str, str] = {"PATH": os.environ["PATH"]}
                for variable in pod["spec"]["containers"][0]["env"]:
                    if "value" in variable:
                        found[variable["name"]] = _expanded(variable["value"], found)
                        continue
                    meant = variable["valueFrom"]["secretKeyRef"]
                    secret = self._objects.get("secrets", pod["metadata"]["namespace"], meant["name"])
                    found[variable["name"]] = base64.b64decode(secret["data"][meant["key"]]).decode()
                return found
            except StatusError:
                waiting = {"reason": "CreateContainerConfigError", "message": "the secret is not there"}
                self._state(pod, "Pending", {"waiting": waiting})
                await asyncio.sleep(_POLL_S)
        return None

    async def _run(self, pod: Json, process: asyncio.subprocess.Process, started: str) -> None:
        uid = pod["metadata"]["uid"]
        lines = self.logs.setdefault(uid, [])

        async def read() -> None:
            assert process.stdout is not None
            while line := await process.stdout.readline():
                lines.append((time.time_ns(), line.decode().rstrip("\n")))

        reading = asyncio.create_task(read())
        stopping = asyncio.create_task(self._stop_when_deleted(pod, process))
        try:
            code = await process.wait()
            await reading
        finally:
            stopping.cancel()
            reading.cancel()
        exit_code = code if code >= 0 else 128 - code
        ended = {"exitCode": exit_code, "reason": "Completed" if code == 0 else "Error", "startedAt": started}
        self._state(pod, "Succeeded" if code == 0 else "Failed", {"terminated": {**ended, "finishedAt": stamp()}})

    async def _stop_when_deleted(self, pod: Json, process: asyncio.subprocess.Process) -> None:
        while self.paused or (self._exists(pod) and "deletionTimestamp" not in pod["metadata"]):
            await asyncio.sleep(_POLL_S)
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.sleep(pod["metadata"].get("deletionGracePeriodSeconds", 0))
        if process.returncode is None:
            process.kill()

    async def _until_deleted(self, pod: Json) -> None:
        while self.paused or (self._exists(pod) and "deletionTimestamp" not in pod["metadata"]):
            await asyncio.sleep(_POLL_S)
        self._remove(pod)

    def _remove(self, pod: Json) -> None:
        if self._exists(pod):
            self._objects.remove("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _exists(self, pod: Json) -> bool:
        return any(item is pod for item in self._objects.find("pods"))

    def _state(self, pod: Json, phase: str, state: dict[str, Any]) -> None:
        none: list[Json] = [{}]
        (before,) = pod["status"].get("containerStatuses") or none
        pod["status"] |= {"phase": phase, "containerStatuses": [{**before, "name": "engine", "state": state}]}
        self._objects.touch(pod)

    def _condition(self, pod: Json, condition: Json) -> None:
        others = [item for item in pod["status"].get("conditions", []) if item["type"] != condition["type"]]
        pod["status"]["conditions"] = [*others, condition]
        self._objects.touch(pod)


def _expanded(text: str, environment: dict[str, str]) -> str:
    """With $(NAME) replaced as the kubelet does it; a doubled sign stands for itself."""
    parts = text.split("$$")
    return "$".join(re.sub(r"\$\((\w+)\)", lambda match: environment.get(match[1], match[0]), part) for part in parts)


def written(line: tuple[int, str]) -> str:
    """A line as the API gives it, with its time stamp: trailing zeros of the fraction are left out, as Go does."""
    nanoseconds, text = line
    moment = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{nanoseconds % 1_000_000_000:09d}".rstrip("0")
    return f"{moment}{'.' if fraction else ''}{fraction}Z {text}\n"


def _is_ready(node: Json) -> bool:
    conditions = node["status"]["conditions"]
    return any((one.get("type"), one.get("status")) == ("Ready", "True") for one in conditions)


async def log_answer(kubelet: Kubelet, pod: Json, request: web.Request) -> web.StreamResponse:
    """The log of a Pod's container, as it grows if that is asked for. Raises `StatusError`."""
    uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
    previous = request.query.get("previous") == "true"
    logs = kubelet.previous if previous else kubelet.logs
    if uid not in logs:
        raise StatusError(400, "BadRequest", f'container "engine" in pod "{name}" is waiting to start')
    since = request.query.get("sinceTime")
    first = int(datetime.fromisoformat(since).timestamp()) * 1_000_000_000 if since else 0
    answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await answer.prepare(request)
    given = 0
    with suppress(ConnectionResetError):  # the reader has left
        while True:
            alive = kubelet.alive(pod) and not previous
            lines = logs.get(uid, [])
            for line in lines[given:]:
                if line[0] >= first:
                    await answer.write(written(line).encode())
            given = len(lines)
            if request.query.get("follow") != "true" or not alive:
                return answer
            await asyncio.sleep(_POLL_S)
    return answer

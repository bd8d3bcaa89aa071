"""A Ray dashboard for tests: the Jobs API with its quirks, on loopback, with real processes for jobs.

What goes wrong is planned with `FakeRay.fail`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.support.ray.jobs import FIELDS, FakeJob
from tests.support.ray.nodes import FakeNode

_PADDING = "".join(
    f'  File "/site-packages/ray/dashboard/modules/job/job_head.py", line {n}, in f\n' for n in range(30)
)
TRACEBACK = "Traceback (most recent call last):\n" + _PADDING
"""What Ray answers for every failure: long, with what it is about at its end."""
_FRAME_LINES = 10

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Fault:
    """What happens to the next requests of a method whose path begins so."""

    method: str
    path: str
    kind: str
    """``before`` and ``after`` cut the connection before or after it is done, ``hang`` never answers, else a status."""
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: str = ""


class FakeRay:
    """The cluster."""

    def __init__(self, folder: Path, *, token: str = "", hold_s: float = 0.0, tail_poll_s: float = 0.05) -> None:
        self.nodes = [FakeNode("a" * 56), FakeNode("b" * 56)]
        self.jobs: dict[str, FakeJob] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.token = token
        self.hold_s = hold_s
        """How long a job is PENDING at least."""
        self.break_tail_after = 0
        """Cut the connection of each followed log after so many frames; 0: never."""
        self.broken_tails = 0
        self.url = ""
        self._folder = folder
        self._tail_poll_s = tail_poll_s
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[FakeRay]:
        """Listen on a free port of 127.0.0.1; at the end every job is ended."""
        app = web.Application(middlewares=[self._middleware])
        app.add_routes(
            [
                web.post("/api/jobs/", self._submit),
                web.get("/api/jobs/", self._list),
                web.get("/api/jobs/{name}", self._get),
                web.delete("/api/jobs/{name}", self._delete),
                web.post("/api/jobs/{name}/stop", self._stop),
                web.get("/api/jobs/{name}/logs", self._logs),
                web.get("/api/jobs/{name}/logs/tail", self._tail),
                web.get("/api/v0/nodes", self._nodes),
                web.get("/nodes", self._summary),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = "http://{}:{}".format(*runner.addresses[0][:2])
        try:
            yield self
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await runner.cleanup()

    def fail(self, method: str, path: str, kind: str, **fields: Any) -> None:
        """Plan a fault."""
        self.faults.append(Fault(method, path, kind, **fields))

    def live(self, name: str) -> int:
        """How many jobs of the name run, or may."""
        return sum(not job.ended for job in self.jobs.values() if job.name == name)

    def kill_node(self, node_id: str, *, told: bool = True) -> None:
        """The node dies with all that runs on it; ``told``: Ray knows of the jobs' end, too."""
        for node in self.nodes:
            if node.node_id == node_id:
                node.state = "DEAD"
        for job in self.jobs.values():
            if job.node is not None and job.node.node_id == node_id:
                if told:
                    job.died.set()
                else:
                    job.vanished = True
                    job.kill()

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        if self.token:
            given = request.headers.get("Authorization")
            if given is None:
                return web.Response(status=401, text="Unauthorized: Missing authentication token")
            if given != f"Bearer {self.token}":
                return web.Response(status=403, text="Forbidden: Invalid authentication token")
        fault = next((item for item in self.faults if item.times and _hits(item, request)), None)
        if fault is None:
            return await handler(request)
        fault.times -= 1
        return await self._broken(fault, request, handler)

    async def _broken(self, fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
        if fault.kind == "after":
            await handler(request)
        if fault.kind == "hang":
            await asyncio.sleep(3600)
        if fault.kind in {"before", "after"}:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.Response(status=int(fault.kind), text=fault.body, headers=fault.headers)

    async def _submit(self, request: web.Request) -> web.Response:
        body = await request.json()
        unknown = set(body) - FIELDS
        if unknown:
            text = f"TypeError: JobSubmitRequest.__init__() got an unexpected keyword argument {unknown.pop()!r}"
            return web.Response(status=400, text=TRACEBACK + text)
        if body["submission_id"] in self.jobs:
            text = f"ValueError: Job with submission_id {body['submission_id']} already exists."
            return web.Response(status=500, text=TRACEBACK + text)
        log = self._folder / f"job-driver-{body['submission_id']}.log"
        job = self.jobs[body["submission_id"]] = FakeJob(body, log, self.url.removeprefix("http://"))
        job.held_until = asyncio.get_running_loop().time() + self.hold_s
        task = asyncio.create_task(self._schedule(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return web.json_response({"job_id": job.name, "submission_id": job.name})

    async def _schedule(self, job: FakeJob) -> None:
        """Run the job once there is a node for it; a stop that was asked for is heeded only then."""
        loop = asyncio.get_running_loop()
        while True:
            node = next((item for item in self.nodes if item.matches(job.selector) and item.fits(job.wanted)), None)
            if node is not None and loop.time() >= job.held_until:
                break
            await asyncio.sleep(0.01)
        node.take(job.wanted)
        try:
            await job.run(node)
        finally:
            node.take(job.wanted, -1)

    async def _list(self, request: web.Request) -> web.Response:
        driver: dict[str, Any] = {
            "type": "DRIVER",
            "job_id": "01000000",
            "submission_id": None,
            "status": "RUNNING",
            "metadata": {},
        }
        return web.json_response([driver, *(job.view() for job in self.jobs.values())])

    def _job(self, request: web.Request) -> FakeJob:
        name = request.match_info["name"]
        if name not in self.jobs:
            raise web.HTTPNotFound(text=f"Job {name} does not exist")
        return self.jobs[name]

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self._job(request).view())

    async def _delete(self, request: web.Request) -> web.Response:
        job = self._job(request)
        if not job.ended:
            text = (
                f"RuntimeError: Attempted to delete job '{job.name}', but it is in a non-terminal state {job.status}."
            )
            return web.Response(status=500, text=TRACEBACK + text)
        del self.jobs[job.name]
        return web.json_response({"deleted": True})

    async def _stop(self, request: web.Request) -> web.Response:
        job = self._job(request)
        if not job.ended:
            job.stop_asked.set()
        return web.json_response({"stopped": not job.ended})

    async def _logs(self, request: web.Request) -> web.Response:
        job = self._job(request)
        if job.node is not None and job.node.state == "DEAD":
            return web.Response(status=500, text=f"{TRACEBACK}ClientConnectorError: Cannot connect to host")
        text = job.log.read_text() if job.node is not None and job.log.exists() else ""
        return web.Response(text=json.dumps({"logs": text}), content_type="application/json")

    async def _tail(self, request: web.Request) -> web.StreamResponse:
        job = self._job(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        while job.node is None:
            if job.ended:
                return socket
            await asyncio.sleep(self._tail_poll_s)
        frames = 0
        with job.log.open() as log:
            last = False
            while job.node.state == "ALIVE" and not socket.closed:
                lines = [line for _ in range(_FRAME_LINES) if (line := log.readline())]
                if self.break_tail_after and frames >= self.break_tail_after:
                    self.broken_tails += 1
                    assert request.transport is not None
                    request.transport.abort()
                    return socket
                if lines:
                    frames += 1
                    await socket.send_str("".join(lines))
                elif last:
                    return socket
                else:
                    if job.name not in self.jobs:
                        await socket.close(code=1011)
                        return socket
                    last = job.ended
                    await asyncio.sleep(self._tail_poll_s)
        await socket.close(code=1011)
        return socket

    async def _nodes(self, request: web.Request) -> web.Response:
        found = [node.view() for node in self.nodes]
        page = {"total": len(found), "result": found, "partial_failure_warning": "", "warnings": None}
        return web.json_response({"result": True, "msg": "", "data": {"result": page}})

    async def _summary(self, request: web.Request) -> web.Response:
        usage = {node.node_id: node.usage() for node in self.nodes}
        return web.json_response({"result": True, "msg": "", "data": {"summary": [], "nodeLogicalResources": usage}})


def _hits(fault: Fault, request: web.Request) -> bool:
    return fault.method in {request.method, "*"} and request.path.startswith(fault.path)

"""A fake Nosana: the API, the hosts and an IPFS gateway, in one HTTP server.

``python -m tests.support.fake_nosana`` prints its port and serves until its standard input ends. Every API key
``nos_NAME`` is an account of its own; ``/control/NAME`` changes it (PATCH) and tells of it (GET).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import WSMsgType, web

from tests.support.fake_nosana_account import Deployment, FakeAccount, Job, RefusedError
from tests.support.ipfs_encoder import Blocks

MESSAGE = "Hello Nosana Node!"
_SETTINGS = (
    *("start_s", "queue_s", "stop_s", "minute_s", "balance", "funds_short", "streams", "nodes_told", "node_down"),
    *("endpoints_told", "node_talks", "replay_last", "results", "sick", "create_s", "raw_result", "raw_padding"),
)
Work = Callable[[FakeAccount, web.Request], Awaitable[web.StreamResponse]]


class FakeNosana:
    """All accounts behind HTTP."""

    def __init__(self) -> None:
        self.base = ""
        self.accounts: dict[str, FakeAccount] = {}
        self.blocks = Blocks()

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application()
        one = "/api/deployments/{id}"
        api: list[tuple[str, str, str, Work]] = [
            ("GET", "/api/markets/", "markets", self._markets),
            ("GET", "/api/credits/balance", "balance", self._balance),
            ("GET", "/api/deployments", "list", self._list),
            ("POST", "/api/deployments/create", "create", self._create),
            ("GET", one, "get", self._get),
            ("DELETE", one, "delete", self._delete),
            ("POST", f"{one}/start", "start", self._start),
            ("POST", f"{one}/stop", "stop", self._stop),
            ("GET", f"{one}/jobs", "jobs", self._jobs),
            ("GET", f"{one}/jobs/{{job}}", "job", self._job),
            ("GET", f"{one}/events", "events", self._events),
            ("GET", f"{one}/header", "header", self._header),
            ("GET", f"{one}/stream", "stream", self._stream),
            ("GET", "/api/jobs/{job}", "chain_job", self._chain_job),
        ]
        for method, path, call, work in api:
            app.router.add_route(method, path, self._guarded(call, work))
        app.router.add_get("/node/{node}/flog", self._flog)
        app.router.add_get("/service/{id}/{rest:.*}", self._service)
        app.router.add_get("/ipfs/{cid}", self._block)
        app.router.add_get("/control/{name}", self._look)
        app.router.add_patch("/control/{name}", self._change)
        return app

    async def serve(self) -> None:
        """Listen on a free port of 127.0.0.1, print it, and serve until standard input ends."""
        runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.base = f"http://{host}:{port}"
        print(port, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await runner.cleanup()

    def account(self, name: str) -> FakeAccount:
        """The account, made when it is first asked for."""
        if name not in self.accounts:
            self.accounts[name] = FakeAccount(self.base, self.blocks)
        return self.accounts[name]

    def _guarded(self, call: str, work: Work) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Let in who has a key, and have go wrong what is to."""

        async def handle(request: web.Request) -> web.StreamResponse:
            scheme, _, key = request.headers.get("Authorization", "").partition(" ")
            if scheme != "Bearer" or not key.startswith("nos_") or key == "nos_expired":
                return web.Response(status=401, text="Unauthorized. Invalid or missing authentication.")
            account = self.account(key.removeprefix("nos_"))
            fault = account.fault(call)
            if fault == "408_after":  # it was done, and a proxy did not wait for the answer
                await work(account, request)
                return web.Response(status=408, text="Request Timeout")
            if fault.startswith("proxy"):  # what stands before the API says it, as "proxy404"
                return web.Response(status=int(fault[5:]), text="default backend", headers={"Location": "/maintenance"})
            if fault.startswith(("{", "[")):  # an answer in another shape
                return web.Response(text=fault, content_type="application/json")
            if fault.isdecimal():
                return web.json_response({"error": "fault"}, status=int(fault), headers={"Retry-After": "0"})
            if fault == "nothing":  # what a list that lags behind tells
                return web.json_response({"deployments": [], "jobs": [], "pagination": {}})
            if fault == "hang":
                await asyncio.sleep(600)
            if fault == "cut":
                return _cut(request)
            try:
                answer = await work(account, request)
            except RefusedError as error:
                return web.json_response({"error": error.text}, status=error.status)
            return _cut(request) if fault == "cut_after" else answer

        return handle

    async def _markets(self, account: FakeAccount, request: web.Request) -> web.Response:
        return web.json_response(account.markets)

    async def _balance(self, account: FakeAccount, request: web.Request) -> web.Response:
        told = {"assignedCredits": account.balance + 3, "reservedCredits": 1, "settledCredits": 2}
        return web.json_response(told)

    async def _list(self, account: FakeAccount, request: web.Request) -> web.Response:
        name, size = request.query.get("name"), int(request.query["limit"])
        assert size in (10, 20, 50, 100)
        found = [item for item in account.deployments.values() if name in (None, item.name)]
        begin = int(request.query.get("cursor", "0"))
        page = found[begin : begin + size]
        after = str(begin + size) if begin + size < len(found) else None
        pagination = {"cursor_next": after, "cursor_prev": None, "total_items": len(found)}
        return web.json_response({"deployments": [item.view(self.base) for item in page], "pagination": pagination})

    async def _create(self, account: FakeAccount, request: web.Request) -> web.Response:
        body = await request.json()
        await asyncio.sleep(account.create_s)
        return web.json_response(account.create(body).view(self.base))

    async def _get(self, account: FakeAccount, request: web.Request) -> web.Response:
        found = account.get(request.match_info["id"])
        return web.json_response(found.view(self.base, told_endpoints=account.endpoints_told))

    async def _delete(self, account: FakeAccount, request: web.Request) -> web.Response:
        account.delete(account.get(request.match_info["id"]))
        return web.Response(status=204)

    async def _start(self, account: FakeAccount, request: web.Request) -> web.Response:
        account.start(account.get(request.match_info["id"]))
        return web.json_response({"status": "STARTING"})

    async def _stop(self, account: FakeAccount, request: web.Request) -> web.Response:
        account.stop(account.get(request.match_info["id"]))
        return web.json_response({"status": "STOPPING"})

    async def _jobs(self, account: FakeAccount, request: web.Request) -> web.Response:
        found = account.get(request.match_info["id"])
        told = [job.view(nodes=account.nodes_told) for job in reversed(found.jobs)]
        return web.json_response({"jobs": told, "pagination": {"cursor_next": None}})

    async def _job(self, account: FakeAccount, request: web.Request) -> web.Response:
        job = self._find(account, request.match_info["job"], account.get(request.match_info["id"]))
        if account.raw_result:
            text = f'{{"jobResult": {account.raw_result}{" " * account.raw_padding}}}'
            return web.Response(text=text, content_type="application/json")
        told = {"jobResult": job.result if account.results == "manager" else None, "node": job.node}
        return web.json_response(told)

    async def _chain_job(self, account: FakeAccount, request: web.Request) -> web.Response:
        job = self._find(account, request.match_info["job"])
        text = json.dumps(job.result) if account.results == "chain" and job.result else None
        return web.json_response({"jobResult": text, "ipfsResult": job.cid, "node": job.node})

    def _find(self, account: FakeAccount, address: str, within: Deployment | None = None) -> Job:
        for deployment in [within] if within else account.deployments.values():
            for job in deployment.jobs:
                if job.address == address:
                    return job
        raise RefusedError(404, "Job not found")

    async def _events(self, account: FakeAccount, request: web.Request) -> web.Response:
        found = account.get(request.match_info["id"])
        return web.json_response({"events": found.events, "pagination": {"cursor_next": None}})

    async def _header(self, account: FakeAccount, request: web.Request) -> web.Response:
        account.get(request.match_info["id"])
        assert request.query["message"] == MESSAGE
        return web.json_response({"header": f"sig{request.match_info['id']}"})

    async def _stream(self, account: FakeAccount, request: web.Request) -> web.StreamResponse:
        if not account.streams:
            raise RefusedError(404, "Not Found")
        found = account.get(request.match_info["id"])
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        told = {job.address: job.frame() for job in found.jobs if job.state not in ("QUEUED", "RUNNING")}
        while found.status != "GONE":  # at first all that is not over, then what has changed
            changed = found.changed
            frames = {job.address: job.frame() for job in found.jobs}
            messages = [{"type": "deployment", "status": found.status, "replicas": 1, "active_revision": 1}]
            messages += [frame for job, frame in frames.items() if told.get(job) != frame]
            told = frames
            await answer.write(b": keep-alive\n\n" + b"".join(_event(message) for message in messages))
            await changed.wait()
        return answer

    async def _flog(self, request: web.Request) -> web.StreamResponse:
        """The log of a job, from its host."""
        node = request.match_info["node"]
        assert "Authorization" not in request.headers, "hosts are strangers"
        found = [
            (account, job)
            for account in self.accounts.values()
            for deployment in account.deployments.values()
            for job in deployment.jobs
            if job.node == node
        ]
        if not found or found[0][0].node_down:
            return web.Response(status=404)
        account, job = found[0]
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        first = await socket.receive()
        told: Any = json.loads(first.data) if first.type is WSMsgType.TEXT else {"path": ""}
        if told["path"] != "/flog":
            await socket.close(code=3003)
        elif told["body"]["jobAddress"] != job.address:
            await socket.close(code=1007)
        elif told["header"] != f"{MESSAGE}:sig{job.deployment.id}":
            await socket.close(code=3000)
        else:
            await self._replay(account, job, socket)
        return socket

    async def _replay(self, account: FakeAccount, job: Job, socket: web.WebSocketResponse) -> None:
        if account.node_talks:
            await _say(socket, "info", job.started_at, "pulling the image")
            await _say(socket, "info", job.started_at, {"progress": 7})
        sent = max(0, len(job.lines) - account.replay_last) if account.replay_last else 0
        while not socket.closed:
            changed = job.changed
            for at, text in job.lines[sent:]:
                await _say(socket, "container", at, text)
                sent += 1
            if job.state != "RUNNING":
                await socket.close()
                return
            waiting = asyncio.create_task(changed.wait())
            reading = asyncio.create_task(socket.receive())
            await asyncio.wait({waiting, reading}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if reading.done():
                return
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _service(self, request: web.Request) -> web.Response:
        """The engine behind a deployment's address."""
        for account in self.accounts.values():
            found = account.deployments.get(request.match_info["id"])
            if found is not None and any(job.state == "RUNNING" for job in found.jobs):
                return web.Response(status=503 if account.sick else 200, text="ok")
        return web.Response(status=404, text="no tunnel")

    async def _block(self, request: web.Request) -> web.Response:
        block = self.blocks.kept.get(request.match_info["cid"])
        return web.Response(status=404) if block is None else web.Response(body=block)

    async def _look(self, request: web.Request) -> web.Response:
        account = self.account(request.match_info["name"])
        told = [
            item.view(self.base) | {"jobs": [job.view(nodes=True) for job in item.jobs]}
            for item in account.deployments.values()
        ]
        return web.json_response(
            {
                "deployments": told,
                "journal": account.journal,
                "calls": account.calls,
                "bodies": account.bodies,
                "markets": account.markets,
            }
        )

    async def _change(self, request: web.Request) -> web.Response:
        account = self.account(request.match_info["name"])
        given = await request.json()
        for name in _SETTINGS:
            if name in given:
                setattr(account, name, given[name])
        account.planned += [(call, fault) for call, fault in given.get("planned", [])]
        for index, changes in enumerate(given.get("markets", [])):
            account.markets[index].update(changes)
        for deployment in list(account.deployments.values()) if given.get("twin") else ():
            account.start(account.twin(deployment))
        for deployment in account.deployments.values():
            if given.get("status"):
                deployment.set(given["status"])
            for job in deployment.jobs:
                if given.get("lose_host"):
                    account.end(job, "STOPPED", exit_code=None, lost=True)
                for text in given.get("say", []):
                    job.lines.append((time.time(), text))
                    job.wake()
        return web.json_response({})


def _cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def _event(message: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(message)}\n\n".encode()


async def _say(socket: web.WebSocketResponse, kind: str, at: float, message: object) -> None:
    inner = {"opId": "engine", "group": "engine", "type": kind, "timestamp": int(at * 1000), "message": message}
    await socket.send_str(json.dumps({"path": "flog", "data": json.dumps(inner)}))


if __name__ == "__main__":
    asyncio.run(FakeNosana().serve())

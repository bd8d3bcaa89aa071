"""The fake cloud as a process of its own: ``python -m tests.support.cloud.server`` prints the port it listens on.

It keeps its instances when the control plane that asked for them is killed. Accounts are made by ``PUT /control/NAME``.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.support.cloud.account import Account, NeverError, NoRoomError, Offer
from tests.support.cloud.faults import Fault, Faults
from tests.support.cloud.instances import CloudInstance

NOW_HEADER = "X-Now"


class Cloud:
    """All accounts behind HTTP."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._base = ""

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application()
        app.add_routes(
            [
                web.post("/a/{account}/instances", self._create),
                web.get("/a/{account}/instances", self._list),
                web.get("/a/{account}/instance", self._describe),
                web.delete("/a/{account}/instance", self._delete),
                web.get("/a/{account}/logs", self._logs),
                web.get("/a/{account}/resources", self._resources),
                web.get("/i/{account}/{name}/health", self._health),
                web.put("/control/{account}", self._make),
                web.get("/control/{account}", self._look),
                web.patch("/control/{account}", self._change),
                web.delete("/control/{account}", self._forget),
            ]
        )
        return app

    async def serve(self) -> None:
        """Listen on a free port of 127.0.0.1, print it, and serve until standard input ends."""
        runner = web.AppRunner(self.app(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self._base = f"http://{host}:{port}"
        print(port, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await runner.cleanup()

    def _account(self, request: web.Request) -> Account:
        account = self._accounts[request.match_info["account"]]
        if NOW_HEADER in request.headers:
            account.advance(float(request.headers[NOW_HEADER]))
        return account

    async def _answer(
        self, request: web.Request, method: str, effect: Callable[[Account], Any], *, changes: bool = True
    ) -> web.Response:
        """Do what is asked, or what goes wrong instead."""
        account = self._account(request)
        fault = account.faults.next(method)
        if fault is Fault.FAIL_BEFORE:
            return web.json_response({"error": "unavailable", "message": "the cloud has hiccups"}, status=503)
        if fault is Fault.LATE:
            if changes:
                account.later(account.late_s, lambda: _surely(effect, account))
            return web.json_response({"error": "late", "message": "no answer in time"}, status=504)
        account.full = fault is Fault.CAPACITY
        try:
            result = effect(account)
        except NoRoomError as error:
            return web.json_response({"error": "capacity", "message": str(error)}, status=409)
        except NeverError as error:
            return web.json_response({"error": "rejected", "message": str(error)}, status=422)
        if fault is Fault.FAIL_AFTER:
            return web.json_response({"error": "internal", "message": "it broke after it was done"}, status=500)
        if fault is Fault.CUT:
            assert request.transport is not None
            request.transport.abort()
        lag_s = account.lag_s if fault is Fault.LAG else 0.0
        return web.json_response({"result": result, "lag_s": lag_s})

    async def _create(self, request: web.Request) -> web.Response:
        spec = await request.json()
        return await self._answer(request, "create", lambda account: self._view(request, account.create(spec)))

    async def _describe(self, request: web.Request) -> web.Response:
        name = request.query["name"]
        return await self._answer(
            request, "describe", lambda account: self._view(request, account.described(name)), changes=False
        )

    async def _list(self, request: web.Request) -> web.Response:
        owner = request.query["owner"]
        return await self._answer(
            request,
            "list",
            lambda account: [self._view(request, item) for item in account.listed(owner)],
            changes=False,
        )

    async def _delete(self, request: web.Request) -> web.Response:
        name = request.query["name"]
        return await self._answer(request, "delete", lambda account: account.delete(name))

    async def _logs(self, request: web.Request) -> web.Response:
        name, after = request.query["name"], int(request.query["after"])

        def read(account: Account) -> dict[str, Any]:
            instance = account.readable(name)
            if instance is None:
                return {"lines": [], "ended": True, "prefix": ""}
            lines = [[n, instance.created_at + n / 20] for n in range(after, instance.lines_until(account.now))]
            prefix = instance.spec["env"].get("CLOUD_PREFIX", f"{name} ")
            return {"lines": lines, "ended": instance.state() != "RUNNING", "prefix": prefix}

        return await self._answer(request, "logs", read, changes=False)

    async def _resources(self, request: web.Request) -> web.Response:
        def read(account: Account) -> list[dict[str, Any]]:
            fields = [{name: getattr(offer, name) for name in Offer.__slots__} for offer in account.offers]
            return [
                told | {"available": account.left(offer)} for told, offer in zip(fields, account.offers, strict=True)
            ]

        return await self._answer(request, "resources", read, changes=False)

    async def _health(self, request: web.Request) -> web.Response:
        account = self._account(request)
        instance = account.instances.get(request.match_info["name"])
        if instance is None:
            return web.Response(status=404)
        return web.Response(status=200 if instance.answers(account.now) else 503)

    def _view(self, request: web.Request, instance: CloudInstance | None) -> dict[str, Any] | None:
        if instance is None:
            return None
        account = request.match_info["account"]
        return instance.view() | {"endpoint": f"{self._base}/i/{account}/{instance.name}"}

    async def _make(self, request: web.Request) -> web.Response:
        self._accounts[request.match_info["account"]] = account = Account()
        _configure(account, await request.json())
        return web.json_response({})

    async def _change(self, request: web.Request) -> web.Response:
        account = self._accounts[request.match_info["account"]]
        _configure(account, await request.json())
        return web.json_response({})

    async def _forget(self, request: web.Request) -> web.Response:
        self._accounts.pop(request.match_info["account"], None)
        return web.json_response({})

    async def _look(self, request: web.Request) -> web.Response:
        account = self._accounts[request.match_info["account"]]
        return web.json_response(
            {
                "now": account.now,
                "journal": account.journal,
                "instances": [item.view() for item in account.instances.values()],
                "faults": dict(account.faults.fired),
            }
        )


def _surely(effect: Callable[[Account], Any], account: Account) -> None:
    """What nobody waits for any more may well fail."""
    with contextlib.suppress(NoRoomError, NeverError):
        effect(account)


def _configure(account: Account, given: dict[str, Any]) -> None:
    """Set what is given, and do what is told: ``kill`` and ``sicken`` instances, ``lose`` nodes."""
    if "offers" in given:
        account.offers = [Offer(**offer) for offer in given["offers"]]
    if "seed" in given or "rates" in given:
        fired = account.faults.fired
        account.faults = Faults(seed=given.get("seed", 0), rates=given.get("rates", {}), fired=fired)
    account.faults.planned += [(method, fault) for method, fault in given.get("planned", [])]
    for name in ("list_lag_s", "describe_lag_s", "late_s", "lag_s"):
        if name in given:
            setattr(account, name, given[name])
    for name in given.get("kill", []):
        if name in account.instances:
            account.end(account.instances[name], state="EXITED", signal=9, reason="SIGNALED", message="was killed")
    for name in given.get("sicken", []):
        if name in account.instances:
            account.instances[name].healthy = False
    for node in given.get("lose", []):
        account.lose_node(node)


if __name__ == "__main__":
    asyncio.run(Cloud().serve())

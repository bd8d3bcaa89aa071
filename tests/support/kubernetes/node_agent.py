"""Nodes of a real control plane that are no machines: what is scheduled to them runs as processes here."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy

import aiohttp
from aiohttp import web

from tests.support.kubernetes.admin import Admin, RefusalError, path_of
from tests.support.kubernetes.kubelet import Kubelet, log_answer
from tests.support.kubernetes.objects import Json, StatusError

_POLL_S = 0.02
_AWAY = (aiohttp.ClientError, ConnectionError, TimeoutError)


class Mirror:
    """Pods and Secrets of a namespace as the API server tells of them; what is changed here is told to it."""

    def __init__(self, admin: Admin, namespace: str) -> None:
        self._admin = admin
        self._namespace = namespace
        self._items: dict[tuple[str, str], Json] = {}
        self._told: dict[str, Json] = {}
        """By uid, the status that was told last: from the first on it is ours alone."""
        self._telling: asyncio.Queue[tuple[str, Json, Json | None]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self.on_pod: Callable[[Json], None] = lambda pod: None
        self.refused: list[str] = []
        """What the API server did not take of what it was told."""

    async def start(self) -> None:
        """Within the event loop that will use it."""
        coroutines = (self._follow("pods"), self._follow("secrets"), self._tell())
        self._tasks = [asyncio.create_task(one) for one in coroutines]

    async def close(self) -> None:
        """Follow no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def find(self, resource: str, namespace: str | None = None) -> Iterator[Json]:
        """All of a kind."""
        del namespace  # there is one
        for (kind, _), item in list(self._items.items()):
            if kind == resource:
                yield item

    def get(self, resource: str, namespace: str, name: str) -> Json:
        """The object itself, changed in place as it changes. Raises `StatusError`."""
        try:
            return self._items[resource, name]
        except KeyError:
            raise StatusError(404, "NotFound", f'{resource} "{name}" not found in {namespace}') from None

    def touch(self, item: Json) -> None:
        """The Pod's status has changed."""
        uid, status = item["metadata"]["uid"], deepcopy(item["status"])
        if self._told.get(uid) != status:
            self._told[uid] = status
            self._telling.put_nowait((item["metadata"]["name"], item, status))

    def remove(self, resource: str, namespace: str, name: str) -> None:
        """A Pod has ended that was to end."""
        item = self.get(resource, namespace, name)
        self._telling.put_nowait((name, item, None))

    async def _tell(self) -> None:
        """One after the other, each until it is taken or refused."""
        while True:
            name, item, status = await self._telling.get()
            while True:
                try:
                    await self._tell_one(name, item["metadata"]["uid"], status)
                except _AWAY:
                    await asyncio.sleep(_POLL_S)
                    continue
                except RefusalError as refused:
                    if refused.code not in {404, 409}:  # it is gone, or another one has its name
                        self.refused.append(str(refused))
                break

    async def _tell_one(self, name: str, uid: str, status: Json | None) -> None:
        path = path_of("pods", self._namespace, name, "" if status is None else "status")
        if status is None:
            await self._admin.call("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})
        else:
            body = {"metadata": {"uid": uid}, "status": status}
            await self._admin.call("PATCH", path, body, "application/merge-patch+json")

    async def _follow(self, resource: str) -> None:
        while True:
            with suppress(*_AWAY, RefusalError):
                page = await self._admin.call("GET", path_of(resource, self._namespace))
                names = {item["metadata"]["name"] for item in page["items"]}
                for key in [key for key in self._items if key[0] == resource and key[1] not in names]:
                    del self._items[key]
                for item in page["items"]:
                    self._take(resource, item)
                version = page["metadata"]["resourceVersion"]
                async for event in self._admin.watch(resource, self._namespace, version):
                    if event["type"] == "ERROR":
                        break
                    if event["type"] == "DELETED":
                        self._items.pop((resource, event["object"]["metadata"]["name"]), None)
                    else:
                        self._take(resource, event["object"])
            await asyncio.sleep(_POLL_S)

    def _take(self, resource: str, item: Json) -> None:
        key = (resource, item["metadata"]["name"])
        known = self._items.get(key)
        if known is not None and known["metadata"]["uid"] == item["metadata"]["uid"]:
            status = known.get("status")
            known.update(item)
            if item["metadata"]["uid"] in self._told:
                known["status"] = status
            return
        self._items[key] = item
        if resource == "pods":
            self.on_pod(item)


class NodeAgent(Kubelet):
    """The kubelets of all nodes here; the scheduler is another's."""

    def __init__(self, mirror: Mirror) -> None:
        super().__init__(mirror)
        self._mirror = mirror
        mirror.on_pod = self.wake
        self.nodes: set[str] = set()
        self.port = 0
        """Where logs are asked for, with TLS."""
        self._runner: web.AppRunner | None = None

    async def serve(self, tls: ssl.SSLContext) -> None:
        """Give logs to the API server."""
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        await super().close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _schedule(self, pod: Json) -> bool:
        while self._exists(pod):
            if pod["spec"].get("nodeName") in self.nodes and not self.paused:
                return True
            await asyncio.sleep(_POLL_S)
        return False

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        """As a kubelet: what is wrong is told in plain words."""
        try:
            pod = self._mirror.get("pods", request.match_info["namespace"], request.match_info["pod"])
            return await log_answer(self, pod, request)
        except StatusError as error:
            return web.Response(status=error.code, text=error.body["message"])

"""An API server for tests: the calls that the provider makes, with authentication, roles, paging, logs and faults."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from tests.support.kubernetes.group_controller import GroupController
from tests.support.kubernetes.kubelet import GPU, Kubelet, log_answer
from tests.support.kubernetes.objects import KINDS, Json, Objects, StatusError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Fault = Callable[[web.Request], web.StreamResponse | None]
Grant = tuple[str, str]
"""Verb and resource, such as ``get`` and ``pods/log``."""

TOKEN = "token-of-the-test"
_POLL_S = 0.01


class FakeKube:
    """One cluster."""

    def __init__(self, *namespaces: str, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.objects = Objects(*namespaces)
        self.kubelet = Kubelet(self.objects)
        self.groups = GroupController(self.objects, self.kubelet)
        self.serves_groups = False
        """LeaderWorkerSet is installed."""
        self.calls: Counter[Grant] = Counter()
        """What was asked for and allowed."""
        self.granted: set[Grant] | None = None
        """What the caller may do; None: everything."""
        self.page = 500
        """Most objects in an answer to a list."""
        self.faults: list[Fault] = []
        """The first that gives an answer takes the place of the server's; each is used up by its answer."""
        self.after: list[Callable[[web.Request], bool]] = []
        """The first that says so has the answer lost: what was asked for was done. Used up by it."""
        self.watching = 0
        """Watches that are open."""
        self.cut_watches = False
        """Every watch ends at once."""
        self.serving = True
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def start(self) -> None:
        """Serve; at the same address as before when it is started again."""
        app = web.Application(middlewares=[self._around])
        app.router.add_get("/apis", self._api_groups)
        groups = "/apis/leaderworkerset.x-k8s.io/v1/namespaces/{namespace}/{resource:leaderworkersets}"
        for prefix in ("/api/v1/namespaces/{namespace}/{resource}", "/api/v1/{resource:pods|nodes}", groups):
            app.router.add_get(prefix, self._list)
            app.router.add_get(prefix + "/{name}", self._get)
            app.router.add_post(prefix, self._create)
            app.router.add_patch(prefix + "/{name}", self._apply)
            app.router.add_delete(prefix + "/{name}", self._delete)
        app.router.add_get("/api/v1/namespaces/{namespace}/{resource}/{name}/{sub:log}", self._log)
        self.serving = True
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        host, self._port = self._runner.addresses[0][:2]
        self.url = f"{'https' if self._tls else 'http'}://{host}:{self._port}"

    async def stop(self) -> None:
        """The API server is away; what runs goes on."""
        self.serving = False
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def close(self) -> None:
        """All of it."""
        await self.stop()
        await self.groups.close()
        await self.kubelet.close()

    def add_node(self, name: str, gpus: int = 0, gpu_type: str = "", **fields: Any) -> Json:
        """A node that is ready."""
        labels = {"nvidia.com/gpu.product": gpu_type, "nvidia.com/gpu.memory": "81920"} if gpu_type else {}
        body: Json = {
            "metadata": {"name": name, "labels": {**labels, **fields.pop("labels", {})}},
            "spec": fields.pop("spec", {}),
            "status": {
                "allocatable": {"cpu": "32", "memory": "256Gi", "pods": "110", GPU: str(gpus)},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
        return self.objects.create("nodes", "", body, "kubelet")

    def pod(self, instance: str) -> Json | None:
        """The Pod of the instance, found without the provider's help."""
        for pod in self.objects.find("pods"):
            if pod["metadata"].get("annotations", {}).get("orchestration-gateway/instance") == instance:
                return pod
        return None

    @web.middleware
    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _check_token(request)
            for fault in self.faults:
                answer = fault(request)
                if answer is not None:
                    self.faults.remove(fault)
                    return answer
            answer = await handler(request)
        except StatusError as error:
            return web.json_response(error.body, status=error.code)
        for lost in self.after:
            if lost(request):
                self.after.remove(lost)
                assert request.transport is not None
                request.transport.abort()
        return answer

    def _allow(self, request: web.Request, verb: str, sub: str = "") -> tuple[str, str, str]:
        """Resource, namespace and name. Raises `StatusError`."""
        match = request.match_info
        resource = match["resource"]
        if resource not in KINDS or (resource == "leaderworkersets" and not self.serves_groups):
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        meant = f"{resource}/{sub}" if sub else resource
        if self.granted is not None and (verb, meant) not in self.granted:
            namespace, name = match.get("namespace", ""), match.get("name", "")
            where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
            said = f'User "gateway" cannot {verb} resource "{meant}" in API group "" {where}'
            what = f'{resource} "{name}"' if name else resource
            # Of what an apply would make it is not told why.
            text = f"{what} is forbidden: {'' if request.method == 'PATCH' and verb == 'create' else said}"
            raise StatusError(403, "Forbidden", text, (resource, name))
        self.calls[verb, meant] += 1
        return resource, match.get("namespace", ""), match.get("name", "")

    async def _api_groups(self, request: web.Request) -> web.StreamResponse:
        """What everybody may know who has a name: which groups there are."""
        served = ["apps/v1", "leaderworkerset.x-k8s.io/v1"] if self.serves_groups else ["apps/v1"]
        groups = [{"name": item.split("/")[0], "versions": [{"groupVersion": item}]} for item in served]
        return web.json_response({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") == "true":
            return await self._watch(request)
        resource, namespace, _ = self._allow(request, "list")
        found = list(self.objects.find(resource, namespace if "namespace" in request.match_info else None))
        found = [item for item in found if _selected(item, request.query)]
        begin = int(request.query.get("continue", "0"))
        end = begin + min(self.page, int(request.query.get("limit", "500")))
        metadata = {
            "resourceVersion": str(self.objects.version),
            **({"continue": str(end)} if end < len(found) else {}),
        }
        return web.json_response({"kind": "List", "metadata": metadata, "items": found[begin:end]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        resource, namespace, _ = self._allow(request, "watch")
        version = int(request.query["resourceVersion"])
        if version < self.objects.compacted:  # told within the answer, as everything after the right to watch
            return too_old(version)
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        self.watching += 1
        try:
            while self.serving and not self.cut_watches:
                for event in [event for event in self.objects.history if event[0] > version]:
                    version, kind, meant, item = event
                    if (
                        meant == resource
                        and item["metadata"]["namespace"] == namespace
                        and _selected(item, request.query)
                    ):
                        await answer.write(json.dumps({"type": kind, "object": item}).encode() + b"\n")
                await asyncio.sleep(_POLL_S)
        except ConnectionResetError:  # the watcher has left
            return answer
        finally:
            self.watching -= 1
        return answer

    async def _get(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.objects.get(*self._allow(request, "get")))

    async def _create(self, request: web.Request) -> web.StreamResponse:
        resource, namespace, _ = self._allow(request, "create")
        item = self.objects.create(resource, namespace, await request.json(), request.query["fieldManager"])
        if resource == "pods":
            self.kubelet.wake(item)
        if resource == "leaderworkersets":
            self.groups.wake(item)
        return web.json_response(item, status=201)

    async def _apply(self, request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/apply-patch+yaml":
            raise StatusError(415, "UnsupportedMediaType", f"cannot take {request.content_type}")
        resource, namespace, name = self._allow(request, "patch")
        if not any(item["metadata"]["name"] == name for item in self.objects.find(resource, namespace)):
            self._allow(request, "create")  # what an API server asks for where there is nothing to patch
        body = _from_yaml(await request.text())
        return web.json_response(self.objects.apply(resource, namespace, name, body, request.query["fieldManager"]))

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        key = self._allow(request, "delete")
        return web.json_response(self.objects.mark_deleted(*key, await request.json()))

    async def _log(self, request: web.Request) -> web.StreamResponse:
        key = self._allow(request, "get", "log")
        pod = self.objects.get(*key)
        if not pod["spec"].get("nodeName"):
            return web.Response(status=204)  # there is no kubelet to be asked
        return await log_answer(self.kubelet, pod, request)


def too_old(version: int) -> web.Response:
    """The answer to who wants to watch from a version that is forgotten."""
    error = StatusError(410, "Expired", f"too old resource version: {version}")
    return web.Response(
        text=json.dumps({"type": "ERROR", "object": error.body}) + "\n", content_type="application/json"
    )


def refuse(method: str, resource: str, code: int, reason: str, message: str, **headers: str) -> Fault:
    """An answer of the API server that is no success, to the next such call."""

    def fault(request: web.Request) -> web.StreamResponse | None:
        if request.method != method or f"/{resource}" not in request.path:
            return None
        return web.json_response(StatusError(code, reason, message).body, status=code, headers=headers)

    return fault


def on_the_way(method: str, resource: str, code: int, text: str = "", **headers: str) -> Fault:
    """An answer of what stands before the API server, to the next such call."""

    def fault(request: web.Request) -> web.StreamResponse | None:
        if request.method != method or f"/{resource}" not in request.path or "watch" in request.query:
            return None
        return web.Response(status=code, text=text, headers=headers)

    return fault


def _from_yaml(text: str) -> Json:
    """What is applied, of which the JSON that is YAML is read: it has neither surrogates nor control characters."""
    if re.search(r"\\u[dD][89a-fA-F]|[\x7f-\x84\x86-\x9f\ufffe\uffff]", text):
        said = "error decoding YAML: error converting YAML to JSON: yaml: found invalid Unicode character escape code"
        raise StatusError(400, "BadRequest", said)
    body: Json = json.loads(text)
    return body


def _check_token(request: web.Request) -> None:
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        raise StatusError(401, "Unauthorized", "Unauthorized")


def _selected(item: Json, query: Mapping[str, str]) -> bool:
    labels = item["metadata"].get("labels", {})
    for part in filter(None, query.get("labelSelector", "").split(",")):
        key, _, value = part.partition("=")
        if labels.get(key) != value:
            return False
    for part in filter(None, query.get("fieldSelector", "").split(",")):
        key, _, value = part.partition("!=")
        assert key == "status.phase", part
        if item["status"].get("phase") == value:
            return False
    return True

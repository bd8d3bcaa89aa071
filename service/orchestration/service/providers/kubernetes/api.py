"""The few calls to an API server that the provider makes, over the client that all providers share."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar
from urllib.parse import quote, urlencode

import aiohttp

from orchestration.service.providers.http_client import Answer, HttpClient, HttpLimits, HttpStatusError
from orchestration.service.providers.kubernetes.kubeconfig import Cluster
from orchestration.service.providers.kubernetes.names import FIELD_MANAGER, Json
from orchestration.service.providers.kubernetes.refusals import RefusedError, refusal
from orchestration.service.providers.kubernetes.shapes import api_groups_in, bad_answer, object_in, projected_page_in

_T = TypeVar("_T")
_PAGE = 250
"""Objects in an answer. Nodes have some 10 kB each, and part of the reading of a page holds up every thread."""
_LARGE = 64 * 1024
"""Bytes of a page that is read in a thread: reading it takes a millisecond and more, up to a tenth of a second."""
_MOST_PAGES = 1000
"""A quarter of a million objects: more than a cluster holds. A list of which each page names another one ends."""
GROUP_VERSION = "leaderworkerset.x-k8s.io/v1"
"""Of LeaderWorkerSet, a resource that a cluster serves where it was installed."""
_APPLY_TRIES = 4
_APPLY = {"Content-Type": "application/apply-patch+yaml"}
_NOT_ASCII = re.compile("[\x7f-\uffff]")


class _Http(HttpClient):
    """Speaks TLS as the kubeconfig says, and tells no token."""

    def __init__(self, cluster: Cluster, limits: HttpLimits) -> None:
        super().__init__(f"the cluster of context {cluster.context!r}", cluster.server, limits=limits)
        self._cluster = cluster
        self.last_token = ""

    async def start(self) -> None:
        """Make the session."""
        # Without a limit: each log that is followed holds a connection, and must not keep calls from being made.
        connector = aiohttp.TCPConnector(ssl=self._cluster.tls or True, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, connect=self._limits.connect_s)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            trust_env=False,
            proxy=self._cluster.proxy or None,
            json_serialize=to_json,
        )

    def clean(self, text: str) -> str:
        """The text without the token."""
        return text.replace(self.last_token, "***") if self.last_token else text


class KubeApi:
    """One API server, as one user."""

    def __init__(self, cluster: Cluster, limits: HttpLimits | None = None) -> None:
        self._cluster = cluster
        self._http = _Http(cluster, limits or HttpLimits(total_s=15.0))

    async def start(self) -> None:
        """Within the event loop that will use it."""
        await self._http.start()

    async def close(self) -> None:
        """End every connection."""
        await self._http.close()

    async def get(self, path: str) -> Json | None:
        """The object, None when there is none. Raises as all calls: `RefusedError`, `ProviderUnavailableError`."""
        try:
            answer = await self._call("GET", path)
        except RefusedError as refused:
            if refused.misses(*_meant(path)):
                return None
            raise
        return object_in(answer, _meant(path)[1])

    async def api_groups(self) -> frozenset[str]:
        """Groups and versions of the API that are served, such as ``apps/v1``."""
        return api_groups_in(await self._call("GET", "/apis"))

    async def find_all(self, path: str, **selectors: str) -> list[Json]:
        """All objects that the selectors mean."""
        return await self.project(path, _as_it_is, **selectors)

    async def snapshot(self, path: str, **selectors: str) -> tuple[list[Json], str]:
        """The same, and the version from which a watch goes on."""
        return await self._read(path, _as_it_is, selectors)

    async def project(self, path: str, to: Callable[[Json], _T], **selectors: str) -> list[_T]:
        """What ``to`` makes of each of them, perhaps in another thread: the objects are let go page by page."""
        found, _ = await self._read(path, to, selectors)
        return found

    async def _read(self, path: str, to: Callable[[Json], _T], selectors: Mapping[str, str]) -> tuple[list[_T], str]:
        found: list[_T] = []
        params = {"limit": str(_PAGE), **selectors}
        for _ in range(_MOST_PAGES):
            answer = await self._call("GET", path, params=params)
            if len(answer.body) < _LARGE:
                items, following, version = projected_page_in(answer, to)
            else:
                items, following, version = await asyncio.to_thread(projected_page_in, answer, to)
            found += items
            if not following:
                return found, version
            params["continue"] = following
        raise bad_answer(f"kubernetes: the list {path} does not end after {_MOST_PAGES} pages")

    async def create(self, path: str, body: Json) -> Json:
        """The object made; 409 when its name is taken, so that a second call makes no second one."""
        return object_in(await self._call("POST", path, body=body, params={"fieldManager": FIELD_MANAGER}))

    async def apply(self, path: str, body: Json) -> None:
        """Have the object as it is wanted, made or changed (server-side apply); what others manage is a 409."""
        params = {"fieldManager": FIELD_MANAGER}
        for tries_left in reversed(range(_APPLY_TRIES)):
            try:
                object_in(await self._call("PATCH", path, body=body, params=params, headers=_APPLY), _meant(path)[1])
                return
            except RefusedError as refused:
                # Of two who make it at the same time, the API server tells one that it is there: then it is changed.
                if refused.status != 409 or refused.is_managed_elsewhere or not tries_left:
                    raise

    async def delete(
        self, path: str, preconditions: Mapping[str, str], grace_s: int | None = None, *, propagation: str = ""
    ) -> bool:
        """Ask for its end; False when it is not there, or is another one by now.

        ``propagation``: what becomes of all that it owns; empty: what is usual for its kind.
        """
        body: Json = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": dict(preconditions)}
        if propagation:
            body["propagationPolicy"] = propagation
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            await self._call("DELETE", path, body=body)
        except RefusedError as refused:
            if refused.status == 409 or refused.misses(*_meant(path)):
                return False
            raise
        return True

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str], read_s: float
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """An answer that is read as it comes."""
        target = f"{path}?{urlencode(params)}"
        try:
            async with self._http.stream("GET", target, headers=await self._headers(), read_s=read_s) as response:
                yield response
        except HttpStatusError as error:
            if error.status == 401:
                await self._headers(renew=True)  # for the caller's next try
            raise refusal(error) from error

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        for renew in (False, True):
            credentials = await self._headers(renew=renew)
            try:
                # Every call names its object: made twice it has the effect of one.
                return await self._http.call(
                    method, path, body=body, params=params, headers={**credentials, **(headers or {})}, idempotent=True
                )
            except HttpStatusError as error:
                if error.status != 401 or renew:
                    raise refusal(error) from error
        raise AssertionError("the second attempt returns or raises")

    async def _headers(self, *, renew: bool = False) -> dict[str, str]:
        token = await self._cluster.auth.token(renew=renew)
        self._http.last_token = token
        return {"Authorization": f"Bearer {token}"} if token else {}


def path(resource: str, namespace: str = "", name: str = "", sub: str = "") -> str:
    """Path of core resources: all of them, those of a namespace, one, or a part of one.

    >>> path("pods", "ns", "a", "log")
    '/api/v1/namespaces/ns/pods/a/log'
    """
    parts = ["/api/v1", *(["namespaces", quote(namespace, safe="")] if namespace else []), resource, name, sub]
    return "/".join(part for part in parts if part)


def group_path(namespace: str, name: str = "") -> str:
    """Path of LeaderWorkerSets: those of a namespace, or one.

    >>> group_path("ns", "a")
    '/apis/leaderworkerset.x-k8s.io/v1/namespaces/ns/leaderworkersets/a'
    """
    parts = ["/apis", GROUP_VERSION, "namespaces", quote(namespace, safe=""), "leaderworkersets", name]
    return "/".join(part for part in parts if part)


def to_json(value: object) -> str:
    """JSON that is YAML, too, as which an object to be applied is read.

    There an escape stands for a character and never for half of one, and control characters have to be escaped.
    """
    text = json.dumps(value, ensure_ascii=False)
    return _NOT_ASCII.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _meant(path: str) -> tuple[str, str]:
    """Resource and name of an object's path."""
    *_, resource, name = path.split("/")
    return resource, name


def _as_it_is(item: Json) -> Json:
    return item

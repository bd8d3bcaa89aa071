"""Calls to a real API server by one who may do everything."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator

import aiohttp

from orchestration.service.providers.kubernetes.api import to_json
from tests.support.kubernetes.objects import Json

_MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
_RBAC = "rbac.authorization.k8s.io/v1"
_GROUPS = {
    "roles": _RBAC,
    "rolebindings": _RBAC,
    "clusterroles": _RBAC,
    "clusterrolebindings": _RBAC,
    "statefulsets": "apps/v1",
    "validatingwebhookconfigurations": "admissionregistration.k8s.io/v1",
}
"""Group and version of what is no core resource."""


class RefusalError(Exception):
    """An answer that is no success."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code


class Admin:
    """Within one event loop."""

    def __init__(self, url: str, token: str, tls: ssl.SSLContext) -> None:
        self._session = aiohttp.ClientSession(
            url,
            headers={"Authorization": f"Bearer {token}"},
            connector=aiohttp.TCPConnector(ssl=tls, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        )

    async def close(self) -> None:
        """End every connection."""
        await self._session.close()

    async def call(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Json:
        """The answer's JSON, empty where there is none. Raises `RefusalError`."""
        data = None if body is None else to_json(body)
        async with self._session.request(method, path, data=data, headers={"Content-Type": kind}) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise RefusalError(answer.status, text)
            found: Json = json.loads(text) if text else {}
            return found

    async def create(self, resource: str, namespace: str, body: Json) -> Json:
        """A new object."""
        return await self.call("POST", path_of(resource, namespace), body)

    async def apply(self, resource: str, namespace: str, body: Json) -> Json:
        """As kubectl does with a manifest."""
        path = path_of(resource, namespace, body["metadata"]["name"])
        return await self.call("PATCH", f"{path}?fieldManager=kubectl", body, APPLY)

    async def status(self, resource: str, namespace: str, name: str, status: Json) -> Json:
        """Say how the object is; lists take the place of what was there."""
        path = path_of(resource, namespace, name, "status")
        return await self.call("PATCH", path, {"status": status}, _MERGE)

    async def patch(self, resource: str, namespace: str, name: str, body: Json) -> Json:
        """Change some of it."""
        return await self.call("PATCH", path_of(resource, namespace, name), body, _MERGE)

    async def delete(self, resource: str, namespace: str, name: str) -> None:
        """At once, and without a word if it is gone."""
        try:
            await self.call("DELETE", f"{path_of(resource, namespace, name)}?gracePeriodSeconds=0")
        except RefusalError as refused:
            if refused.code != 404:
                raise

    async def find(self, resource: str, namespace: str = "") -> list[Json]:
        """All of a kind; without a namespace, of all of them."""
        items: list[Json] = (await self.call("GET", path_of(resource, namespace)))["items"]
        return items

    async def watch(self, resource: str, namespace: str, version: str) -> AsyncGenerator[Json]:
        """Events since the version, until the server ends them."""
        params = {"watch": "true", "resourceVersion": version}
        async with self._session.get(path_of(resource, namespace), params=params) as answer:
            answer.raise_for_status()
            while line := await answer.content.readline():
                event: Json = json.loads(line)
                yield event


def path_of(resource: str, namespace: str = "", name: str = "", sub: str = "") -> str:
    """Path of a resource, or of an object."""
    root = f"/apis/{_GROUPS[resource]}" if resource in _GROUPS else "/api/v1"
    parts = [root, *(["namespaces", namespace] if namespace else []), resource, name, sub]
    return "/".join(part for part in parts if part)

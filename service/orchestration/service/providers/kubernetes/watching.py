"""Pods as the API server tells of their changes, so that looking at one is no request.

A watch is only a shortcut: what it does not know, or may not know yet, is asked for. It tells nothing while it is not
connected.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import structlog

from orchestration.service.domain.backoff import Backoff
from orchestration.service.providers.base import ProviderError
from orchestration.service.providers.kubernetes.api import KubeApi, path
from orchestration.service.providers.kubernetes.names import Json, owner_selector, part
from orchestration.service.providers.kubernetes.refusals import RefusedError

log = structlog.get_logger(__name__)

_SERVED_S = 60
"""So long the server keeps a watch open; then it is taken up where it was. One that is silent for longer is dead."""
_READ_S = 75.0
_TOUCHED_S = 10.0
"""After a change of ours its effect is asked for: the watch may be behind."""
_MAX_EVENT = 8 * 1024 * 1024
_GONE = 410
_WORST = 8
_LASTING_S = 5.0
"""A watch that was open for so long may be taken up at once, even if nothing came of it."""


class PodWatch:
    """The installation's Pods in one namespace."""

    def __init__(self, api: KubeApi, namespace: str, owner: str) -> None:
        self._api = api
        self._path = path("pods", namespace)
        self._selector = {"labelSelector": owner_selector(owner)}
        self._pods: dict[str, Json] = {}
        self._version = ""
        """From where to go on; empty: from a new list."""
        self._connected = False
        self._opened_at: float | None = None
        """When the watch of this turn was opened; None: it was not."""
        self._heard = False
        """Whether it brought something new."""
        self._touched: dict[str, float] = {}
        self._backoff = Backoff(initial_s=0.5, maximum_s=60.0)

    def get(self, name: str) -> Json | None:
        """The Pod, if it is certain enough that there is one and how it is; None: ask."""
        touched_at = self._touched.get(name)
        if touched_at is not None:
            if time.monotonic() - touched_at < _TOUCHED_S:
                return None
            del self._touched[name]
        return self._pods.get(name) if self._connected else None

    def touch(self, name: str) -> None:
        """Something was asked for that changes the Pod."""
        self._touched[name] = time.monotonic()

    async def run(self) -> None:
        """Watch until cancelled; without a pause only after a watch that was worth something, and only once."""
        failures, told = 0, False
        while True:
            why, at_once = await self._turn()
            if self._was_worth_it():
                failures, told = 0, False
            failures = min(failures + 1, _WORST)
            if at_once and failures == 1:
                continue
            if not told:
                log.info("Pods are not watched for now; they are asked for one by one", path=self._path, error=why)
                told = True
            await asyncio.sleep(self._backoff.delay(failures))

    async def _turn(self) -> tuple[str, bool]:
        """One watch to its end; why it ended, and whether servers end watches so that are well."""
        self._opened_at, self._heard = None, False
        try:
            await self._watch()
            return "the server ends watches as soon as they are opened", True
        except RefusedError as refused:
            self._version = ""
            return refused.message, refused.status == _GONE  # what happened since is not known any more
        except ProviderError as error:
            return error.message, False
        except Exception as error:  # an event of a kind that is not understood must not end the watch
            self._version = ""
            return f"{type(error).__name__}: {error}", False
        finally:
            self._connected = False

    def _was_worth_it(self) -> bool:
        lasted_s = 0.0 if self._opened_at is None else time.monotonic() - self._opened_at
        return self._heard or lasted_s >= _LASTING_S

    async def _watch(self) -> None:
        """From the last version, or a new list, to the end of one answer."""
        if not self._version:
            self._pods, self._version = await self._list()
        params = {
            **self._selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_SERVED_S),
            "resourceVersion": self._version,
        }
        async with self._api.stream(self._path, params, _READ_S) as response:
            self._connected, self._opened_at = True, time.monotonic()
            async for event in _events(response):
                self._take(event)

    async def _list(self) -> tuple[dict[str, Json], str]:
        items, version = await self._api.snapshot(self._path, **self._selector)
        return {item["metadata"]["name"]: item for item in items}, version

    def _take(self, event: Json) -> None:
        item: Json = event["object"]
        if event["type"] == "ERROR":
            raise RefusedError(int(item.get("code") or 0), str(item.get("message") or "the watch failed"))
        metadata = part(item, "metadata")
        version = str(metadata["resourceVersion"])
        self._heard = self._heard or version != self._version
        self._version = version
        if event["type"] == "DELETED":
            self._pods.pop(metadata["name"], None)
        elif event["type"] != "BOOKMARK":
            self._pods[metadata["name"]] = item


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    """One JSON object a line."""
    held = bytearray()
    async for chunk in response.content.iter_any():
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            held += end
            if held.strip():
                event: Any = json.loads(held)
                yield event
            held.clear()
        held += rest
        if len(held) > _MAX_EVENT:
            raise ProviderError(
                "ANSWER_TOO_LARGE", f"an event of a watch has more than {_MAX_EVENT} bytes", retryable=True
            )

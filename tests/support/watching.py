"""Clients that follow a stream over every break, by each face, and check what they are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc

from tests.support.faces import ApiError, GrpcFace, RestFace
from tests.support.gateway import Api

Reader = Callable[[Api, str], AsyncGenerator[dict[str, Any], None]]
"""The messages of a stream that goes on after a token; an empty token begins it."""
BROKEN = (aiohttp.ClientError, asyncio.IncompleteReadError, ConnectionError, grpc.aio.AioRpcError)
"""What a client sees of a gateway that is gone."""


def grpc_reader(rpc: str, resume: str, **fields: Any) -> Reader:
    """Over gRPC; ``resume``: the field that takes the token."""

    async def read(api: Api, token: str) -> AsyncGenerator[dict[str, Any], None]:
        asked = {**fields, resume: token} if token else fields
        async with GrpcFace(api.channel).stream(rpc, **asked) as stream:
            async for message in stream:
                yield message

    return read


def ndjson_reader(rpc: str, resume: str, **fields: Any) -> Reader:
    """Over REST, as lines of JSON."""

    async def read(api: Api, token: str) -> AsyncGenerator[dict[str, Any], None]:
        asked = {**fields, resume: token} if token else fields
        async with RestFace(api.rest.session, api.rest.base).stream(rpc, **asked) as stream:
            async for message in stream:
                yield message

    return read


def sse_reader(path: str) -> Reader:
    """Over REST, as a browser does it: the id of the last event is sent back to go on after it."""

    async def read(api: Api, token: str) -> AsyncGenerator[dict[str, Any], None]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": token} if token else {})
        async with api.rest.session.get(api.rest.base + path, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    assert value == "error", value
                    raise aiohttp.ClientPayloadError(value)
                if name == "data":
                    yield json.loads(value)

    return read


@dataclass
class Follower:
    """Reads a stream, and takes it up again at the gateway there is then, until it is cancelled."""

    reader: Reader
    gateway: Callable[[], Awaitable[Api]]
    """The gateway that serves now, or once one does."""
    token_of: Callable[[dict[str, Any]], str]
    take: Callable[[dict[str, Any]], None]
    begin: Callable[[], None]
    """Called before each connection."""
    token: str = ""
    connections: int = 0

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            api = await self.gateway()
            self.connections += 1
            self.begin()
            try:
                async with aclosing(self.reader(api, self.token)) as stream:
                    async for message in stream:
                        self.take(message)
                        self.token = self.token_of(message) or self.token
            except ApiError as error:
                if error.code not in {"UNAVAILABLE", "CANCELLED"}:
                    raise
            except BROKEN:
                pass
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Not this task's: grpc.aio cancels whoever reads from a channel that is closed under them.
            await asyncio.sleep(0.05)  # a client that hammers a gateway that is gone helps nobody


@dataclass
class Picture:
    """What a watcher knows of the deployments, and what it was told wrongly."""

    known: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    messages: int = 0
    repeated: int = 0
    """Messages after a new connection with what was known already."""
    _here: set[str] = field(default_factory=set[str])
    """Deployments told of in this connection."""
    _synced: bool = False

    def begin(self) -> None:
        """A new connection."""
        self._here.clear()
        if not self._synced:
            self.known.clear()

    def take(self, message: dict[str, Any]) -> None:
        """Take in a message; fails when it goes back in time, or tells twice in a row what it told just now."""
        if message["type"] == "SYNCED":
            self._synced = True
            return
        self.messages += 1
        told = message["deployment"]
        id_ = told["deployment_id"]
        if message["type"] == "DELETED":
            self.known.pop(id_, None)  # after a break in the midst of many changes it may never have been told
            return
        before = self.known.get(id_)
        assert before is not None or message["type"] == "ADDED", f"{id_} changed before it was told of"
        if before is not None:
            assert version(told) >= version(before), f"{id_} went back from {version(before)} to {version(told)}"
            same = {**told, "cost_so_far": 0} == {**before, "cost_so_far": 0}
            assert not (same and id_ in self._here), f"{id_} was told twice in a row: {told}"
            self.repeated += same
        self.known[id_] = told
        self._here.add(id_)


def version(deployment: dict[str, Any]) -> tuple[int, int]:
    """What only grows in a deployment: its generation, and the number that its label counts up."""
    return int(deployment["generation"]), int(deployment["labels"].get("number", -1))


@dataclass
class Lines:
    """The lines of a log that prints a counter."""

    numbers: list[int] = field(default_factory=list[int])

    def take(self, entry: dict[str, Any]) -> None:
        """Take in a line; fails when one is missing, doubled or out of order."""
        word, *rest = entry["message"].split()
        if word == "tick":
            number = int(rest[-1])
            expected = self.numbers[-1] + 1 if self.numbers else number
            assert number == expected, f"line {number} came where {expected} was due"
            self.numbers.append(number)

"""Probes of real servers, good and bad."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from orchestration.service.engines.readiness import ServedModel, probe, probe_model


@asynccontextmanager
async def answering(response: bytes, *, hang: bool = False) -> AsyncGenerator[str]:
    """A server that answers anything with these bytes, or accepts and says nothing."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if hang:
                await reader.read()  # until the client gives up
            else:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(response)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # a probe that only connects
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def reply(status: str, body: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nLocation: /other\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("response", "ready", "status", "message"),
    [
        (reply("200 OK", "fine"), True, 200, "GET /health answered 200"),
        (reply("204 No Content"), True, 204, "GET /health answered 204"),
        (reply("302 Found"), False, 302, "GET /health answered 302"),
        (reply("404 Not Found", "no  such\npage"), False, 404, "GET /health answered 404: no such page"),
        (reply("503 Busy", "x" * 500), False, 503, "GET /health answered 503: " + "x" * 200),
        (b"SSH-2.0-server\r\n\r\n", False, None, "GET /health failed: "),
        (b"", False, None, "GET /health failed: Server disconnected"),
    ],
)
async def test_answer_of_the_health_path(response: bytes, ready: bool, status: int | None, message: str) -> None:
    async with answering(response) as endpoint, aiohttp.ClientSession() as session:
        result = await probe(session, endpoint + "/", "/health", 5)
    assert (result.ready, result.status) == (ready, status)
    assert result.message.startswith(message)
    assert len(result.message) < 300


async def test_the_health_path_is_asked_for_as_it_is() -> None:
    asked: list[str] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        asked.append(request.raw_path)
        return web.Response()

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        async with aiohttp.ClientSession() as session:
            assert (await probe(session, f"http://{host}:{port}", "/v1/models/llama3.2:1b?a=b", 5)).ready
    finally:
        await runner.cleanup()
    assert asked == ["/v1/models/llama3.2:1b?a=b"]


@pytest.mark.parametrize("path", ["/health", ""])
async def test_nobody_listens(path: str) -> None:
    async with answering(b"") as endpoint:
        pass
    async with aiohttp.ClientSession() as session:
        result = await probe(session, endpoint, path, 5)
    assert (result.ready, result.status) == (False, None)
    assert "refused" in result.message or "connect" in result.message.lower()


async def test_a_server_that_hangs_is_given_up_on() -> None:
    async with answering(b"", hang=True) as endpoint, aiohttp.ClientSession() as session:
        result = await asyncio.wait_for(probe(session, endpoint, "/health", 0.2), 5)
    assert result.message == "no answer to GET /health within 0.2 s"
    assert not result.ready


async def test_without_a_health_path_ready_is_an_accepted_connection() -> None:
    async with answering(b"", hang=True) as endpoint, aiohttp.ClientSession() as session:
        result = await probe(session, endpoint, "", 5)
    assert (result.ready, result.status) == (True, None)


@pytest.mark.parametrize("path", ["/health", ""])
@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:99999", "nonsense", "", "http://host.invalid:1"])
async def test_an_endpoint_that_is_none_is_a_result_too(endpoint: str, path: str) -> None:
    async with aiohttp.ClientSession() as session:
        result = await probe(session, endpoint, path, 5)
    assert not result.ready
    assert result.message


def models(*names: str) -> str:
    return json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


@pytest.mark.parametrize(
    ("response", "ready", "gone", "message"),
    [
        (reply("200 OK", models("demo")), True, False, "GET /v1/models answered 200"),
        (reply("200 OK", models("other", "demo")), True, False, "GET /v1/models answered 200"),
        (reply("200 OK", '{"data": [{"id": "m.gguf", "aliases": ["demo"]}]}'), True, False, "GET /v1/models"),
        (reply("200 OK", models("Demo")), False, True, "model 'demo' is not served; it serves 'Demo'"),
        (reply("200 OK", models()), False, True, "model 'demo' is not served; it serves none"),
        (
            reply("200 OK", models(*"abcdefg")),
            False,
            True,
            "model 'demo' is not served; it serves 'a', 'b', 'c', 'd', 'e' and 2",
        ),
        # What follows does not tell: a key is needed, the path is not known, or it is no list of models.
        (reply("401 Unauthorized"), True, False, "GET /v1/models answered 401"),
        (reply("403 Forbidden"), True, False, "GET /v1/models answered 403"),
        (reply("404 Not Found"), True, False, "GET /v1/models answered 404"),
        (reply("200 OK", "hello"), True, False, "GET /v1/models answered 200"),
        (reply("200 OK", "[]"), True, False, "GET /v1/models answered 200"),
        (reply("200 OK", '{"data": 1}'), True, False, "GET /v1/models answered 200"),
        (reply("503 Busy", "engine dead"), False, False, "GET /v1/models answered 503: engine dead"),
        (b"", False, False, "GET /v1/models failed: Server disconnected"),
    ],
)
async def test_whether_the_model_is_served(response: bytes, ready: bool, gone: bool, message: str) -> None:
    async with answering(response) as endpoint, aiohttp.ClientSession() as session:
        result = await probe_model(session, endpoint + "/", ServedModel("/v1/models", "demo"), 5)
    assert (result.ready, result.model_gone) == (ready, gone)
    assert result.message.startswith(message)


async def test_an_engine_that_does_not_say_what_it_serves_is_given_up_on() -> None:
    async with answering(b"", hang=True) as endpoint, aiohttp.ClientSession() as session:
        result = await asyncio.wait_for(probe_model(session, endpoint, ServedModel("/v1/models", "demo"), 0.2), 5)
    assert result.message == "no answer to GET /v1/models within 0.2 s"
    assert (result.ready, result.model_gone) == (False, False)

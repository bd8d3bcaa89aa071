"""The HTTP client of providers, against a real server that misbehaves as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web

from orchestration.service.domain.backoff import Backoff
from orchestration.service.providers.base import ProviderError, ProviderUnavailableError
from orchestration.service.providers.http_client import Circuit, HttpClient, HttpLimits, HttpStatusError, retry_after

Handler = Callable[[web.Request], Any]


class Server:
    """Answers with what is planned, then with 200; remembers what it was asked."""

    def __init__(self) -> None:
        self.planned: list[Handler] = []
        self.asked: list[tuple[str, str, Any, dict[str, str]]] = []
        self.base = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        body = json.loads(text) if text else None
        self.asked.append((request.method, request.path_qs, body, dict(request.headers)))
        if self.planned:
            found = self.planned.pop(0)(request)
            answer: web.StreamResponse = await found if asyncio.iscoroutine(found) else found
            return answer
        return web.json_response({"fine": True})


def status(code: int, text: str = "", **headers: str) -> Handler:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: web.Response(status=code, text=text, headers=named)


def cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hang(request: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


LIMITS = HttpLimits(total_s=30.0, backoff=Backoff(initial_s=0.01, maximum_s=0.02), circuit_open_s=3600.0)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.base = f"http://{host}:{port}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[HttpClient]:
    client = HttpClient(
        "the cloud", server.base, headers={"Authorization": "Bearer s3cret"}, secrets=["s3cret"], limits=LIMITS
    )
    await client.start()
    yield client
    await client.close()


async def test_body_query_and_credentials_are_sent(server: Server, client: HttpClient) -> None:
    answer = await client.call("POST", "/things", body={"a": 1}, params={"q": "x y"})
    assert answer.json() == {"fine": True}
    method, path, body, headers = server.asked[0]
    assert (method, path, body) == ("POST", "/things?q=x+y", {"a": 1})
    assert headers["Authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("code", [429, 502, 503, 504])
async def test_a_read_is_made_again_when_it_may_succeed(server: Server, client: HttpClient, code: int) -> None:
    server.planned = [status(code), cut, status(200, "[1]")]
    assert (await client.call("GET", "/x")).json() == [1]
    assert len(server.asked) == 3


@pytest.mark.parametrize("code", [400, 401, 404, 409, 500, 301])
async def test_a_final_answer_is_told_once_without_secrets(server: Server, client: HttpClient, code: int) -> None:
    server.planned = [status(code, "Bearer s3cret is wrong", Location="/elsewhere")]
    with pytest.raises(HttpStatusError) as caught:
        await client.call("GET", "/x?key=s3cret")
    assert (caught.value.status, caught.value.reason) == (code, f"HTTP_{code}")
    assert caught.value.retryable == (code == 500)
    assert "the cloud answered GET /x with" in caught.value.message
    assert "Bearer *** is wrong" in caught.value.body
    assert "s3cret" not in caught.value.message + caught.value.body
    assert len(server.asked) == 1


async def test_of_a_long_refusal_little_is_told_and_much_is_kept(server: Server, client: HttpClient) -> None:
    server.planned = [status(400, "no " + "x" * 490 + " s3cret " + "y" * 100_000)]
    with pytest.raises(HttpStatusError) as caught:
        await client.call("GET", "/x")
    assert caught.value.message == "the cloud answered GET /x with 400: no " + "x" * 490 + " ***..."
    assert caught.value.body == "no " + "x" * 490 + " *** " + "y" * (65536 - 498)
    server.planned = [status(400, "z" * 500)]
    with pytest.raises(HttpStatusError, match=r"with 400: z{500}$"):
        await client.call("GET", "/x")


@pytest.mark.parametrize("fault", [cut, status(503), status(502)])
async def test_a_change_is_asked_for_once(server: Server, client: HttpClient, fault: Handler) -> None:
    server.planned = [fault]
    with pytest.raises(ProviderError) as caught:
        await client.call("POST", "/x", body={})
    assert not isinstance(caught.value, ProviderUnavailableError), "it may have been done"
    assert caught.value.retryable
    assert len(server.asked) == 1


async def test_a_change_that_was_not_sent_is_known_not_to_be_done() -> None:
    client = HttpClient("the cloud", "http://127.0.0.1:1", limits=LIMITS)
    await client.start()
    with pytest.raises(ProviderUnavailableError, match="did not answer POST /x"):
        await client.call("POST", "/x", body={})
    await client.close()


async def test_time_is_bounded_over_all_attempts(server: Server, client: HttpClient) -> None:
    server.planned = [hang, hang, hang]
    with pytest.raises(ProviderUnavailableError, match="no answer in time"):
        await client.call("GET", "/x", total_s=0.2)


async def test_a_long_retry_after_is_passed_on_and_kept(server: Server, client: HttpClient) -> None:
    server.planned = [status(429, Retry_After="1800")]
    with pytest.raises(ProviderUnavailableError) as caught:
        await client.call("GET", "/x")
    assert (caught.value.reason, caught.value.retry_after_s) == ("RATE_LIMITED", 1800.0)
    with pytest.raises(ProviderUnavailableError) as caught:
        await client.call("GET", "/other")
    assert caught.value.retry_after_s is not None
    assert 1700 < caught.value.retry_after_s <= 1800
    assert len(server.asked) == 1, "nobody asks while the server wants to be left alone"


async def test_a_server_that_is_away_is_left_alone(server: Server, client: HttpClient) -> None:
    server.planned = [status(502)] * 10
    for _ in range(2):
        with pytest.raises(ProviderError):
            await client.call("GET", "/x")
    with pytest.raises(ProviderUnavailableError, match=r"is not asked for the moment: .*5 times in a row"):
        await client.call("GET", "/x")
    assert len(server.asked) == 5


async def test_an_answer_that_is_too_long_is_refused(server: Server) -> None:
    client = HttpClient("the cloud", server.base, limits=HttpLimits(max_body_bytes=1000))
    await client.start()
    server.planned = [status(200, "x" * 5000)]
    with pytest.raises(ProviderError, match="more than 1000 bytes"):
        await client.call("GET", "/x")
    await client.close()


async def test_what_is_no_json_is_a_bad_answer(server: Server, client: HttpClient) -> None:
    server.planned = [status(200, "<html>"), status(200, "[" * 100_000), status(200, "")]
    for _ in range(2):
        with pytest.raises(ProviderError, match="no JSON"):
            (await client.call("GET", "/x")).json()
    assert (await client.call("GET", "/x")).json() is None


async def test_streams_are_read_as_they_come_and_refused_alike(server: Server, client: HttpClient) -> None:
    async with client.stream("GET", "/x") as response:
        assert await response.json() == {"fine": True}
    server.planned = [status(503, "cannot")]
    with pytest.raises(HttpStatusError, match="with 503: cannot"):
        async with client.stream("GET", "/x"):
            pass


async def test_a_closed_client_says_so(client: HttpClient) -> None:
    await client.close()
    with pytest.raises(ProviderUnavailableError, match="is not connected"):
        await client.call("GET", "/x")


def test_the_circuit_lets_one_try_and_closes_again() -> None:
    now = [0.0]
    circuit = Circuit(2, 10.0, lambda: now[0])
    circuit.failed("a")
    assert circuit.blocked() == (0.0, "")
    circuit.failed("b")
    assert circuit.blocked() == (10.0, "b (2 times in a row and more)")
    now[0] = 10.0
    assert circuit.blocked()[0] == 0.0
    assert circuit.blocked()[0] == 10.0, "the others wait for what comes of it"
    circuit.succeeded()
    assert circuit.blocked()[0] == 0.0
    circuit.failed("c")
    assert circuit.blocked()[0] == 0.0, "counted from the beginning"


def test_retry_after_takes_numbers_and_dates() -> None:
    assert retry_after({"retry-after": "7"}) == 7.0
    assert retry_after({"retry-after": "99999999"}) == 3600.0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None
    later = retry_after({"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=120), usegmt=True)})
    assert later is not None
    assert 60 < later <= 120
    assert retry_after({"retry-after": "Mon, 01 Jan 2001 00:00:00 GMT"}) == 0.0

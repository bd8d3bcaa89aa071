"""Where the next page of a list is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from multidict import CIMultiDict

from orchestration.gateway import GatewayConfig
from tests.support.library_service import Lending, lending
from tests.support.raw_http import exchange
from tests.support.transcoding_client import Transport

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROXIED = {"X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/api/"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(transport: Transport) -> AsyncIterator[Lending]:
    async with lending(transport) as service:
        yield service


@pytest.fixture
def served(shared: Lending) -> Lending:
    shared.library.book = {"title": "Emma", "etag": "v1"}
    shared.library.next_page_token = "next one/2?"
    return shared


async def test_next_page_is_linked(served: Lending) -> None:
    answer = await served.get("/v1/books?page_size=2&page_token=first&filter=a%26b")
    url = f"{served.base}/v1/books?page_size=2&filter=a%26b&page_token=next%20one%2F2%3F"
    assert answer.headers["Link"] == f'<{url}>; rel="next"'
    follow = await served.get(url.removeprefix(served.base))
    assert follow.status == 200
    asked = served.library.asked[-1]
    assert (asked.page_size, asked.filter, asked.page_token) == (2, "a&b", "next one/2?")


async def test_indented_pages_are_linked_too(served: Lending) -> None:
    answer = await served.get("/v1/books?$prettyPrint=true")
    url = f"{served.base}/v1/books?$prettyPrint=true&page_token=next%20one%2F2%3F"
    assert answer.headers["Link"] == f'<{url}>; rel="next"'


async def test_a_client_library_finds_it(served: Lending) -> None:
    async with served.session.get(served.url("/v1/books?pageToken=first")) as response:
        assert str(response.links["next"]["url"]).startswith(f"{served.base}/v1/books?page_token=next")


async def test_last_page_has_no_link(served: Lending) -> None:
    served.library.next_page_token = ""
    assert "Link" not in (await served.get("/v1/books")).headers


@pytest.mark.parametrize(("method", "target"), [("POST", "/v1/books:list"), ("GET", "/v1/pages/x")])
async def test_no_link_where_a_query_cannot_ask(served: Lending, method: str, target: str) -> None:
    answer = await served.send(method, target)
    assert answer.json["next_page_token"]
    assert "Link" not in answer.headers


async def test_the_token_cannot_leave_the_header(served: Lending) -> None:
    served.library.next_page_token = 'a"\r\nX-Evil: 1\0>é'
    answer = await served.get('/v1/books?filter=<a>"')
    assert answer.status == 200
    assert answer.headers["Link"] == (
        f'<{served.base}/v1/books?filter=%3Ca%3E%22&page_token=a%22%0D%0AX-Evil%3A%201%00%3E%C3%A9>; rel="next"'
    )
    assert "X-Evil" not in answer.headers


async def test_bytes_that_are_no_text_in_the_query(served: Lending) -> None:
    answer = await exchange(served.base, b"GET /v1/books?filter=%C3%A9\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert answer.all("Link")[0].isascii()


async def test_strangers_cannot_choose_the_host(served: Lending) -> None:
    answer = await served.send("GET", "/v1/books", headers=PROXIED)
    assert answer.headers["Link"].startswith(f"<{served.base}/v1/books?")


@pytest.mark.parametrize("host", ["a/b", "a b", "<x>", "a@b", "a?b"])
async def test_a_host_that_is_none_leaves_the_link_relative(served: Lending, host: str) -> None:
    answer = await exchange(served.base, f"GET /v1/books HTTP/1.1\r\nHost: {host}\r\n\r\n")
    if answer.status == 200:
        assert answer.all("Link") == ['<?page_token=next%20one%2F2%3F>; rel="next"']
    else:
        assert answer.status == 400


async def test_trusted_proxies_choose_it(transport: Transport) -> None:
    async with lending(transport, GatewayConfig(trusted_proxies=["127.0.0.0/8"])) as served:
        served.library.next_page_token = "2"
        answer = await served.send("GET", "/v1/books", headers=PROXIED)
        assert answer.headers["Link"] == '<https://api.example/api/v1/books?page_token=2>; rel="next"'
        several = CIMultiDict({"X-Forwarded-Host": "evil.example, api.example", "X-Forwarded-Proto": "http, https"})
        answer = await served.send("GET", "/v1/books", headers=several)
        assert answer.headers["Link"] == '<https://api.example/v1/books?page_token=2>; rel="next"'


async def test_links_can_be_off(transport: Transport) -> None:
    async with lending(transport, GatewayConfig(page_links=False)) as served:
        served.library.next_page_token = "2"
        assert "Link" not in (await served.get("/v1/books")).headers

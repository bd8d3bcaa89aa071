"""Server-sent events as a browser reads them, by its own EventSource."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestration.gateway import GatewayConfig
from tests.support.browser import Browser, browsing, missing
from tests.support.transcoding_client import Running, running
from tests.support.transcoding_service import Handlers, message

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser")]

LISTEN = """
window.seen = [];
window.tail = new EventSource("%s");
tail.onopen = () => seen.push(["open"]);
tail.onmessage = (event) => seen.push(["message", event.lastEventId, JSON.parse(event.data)]);
tail.addEventListener("end", (event) => { seen.push(["end", event.data]); tail.close(); });
tail.addEventListener("error", (event) => {
  seen.push(["error", event.data ? JSON.parse(event.data).error.status : "cut off"]);
  if (event.data) tail.close();
});
"""


@asynccontextmanager
async def _page(tmp_path: Path, handlers: Handlers | None = None) -> AsyncGenerator[tuple[Running, Browser]]:
    """A page of the gateway's own origin, open in a browser."""
    config = GatewayConfig(event_retry_s=0.2)
    async with (
        running("in_process", config=config, handlers=handlers) as served,
        browsing(tmp_path / "profile") as browser,
    ):
        await browser.open(f"{served.base}/healthz")
        yield served, browser


def _message(number: int) -> list[Any]:
    return ["message", str(number), {"number": number, "cursor": str(number), "padding": ""}]


async def test_events_come_and_end(tmp_path: Path) -> None:
    async with _page(tmp_path) as (_, browser):
        for query in ("count=3", "count=3&alt=json"):
            await browser.run(LISTEN % f"/v1/ticks?{query}")
            await browser.until("return tail.readyState === EventSource.CLOSED")
            expected = [["open"], *map(_message, (1, 2, 3)), ["end", "{}"]]
            assert await browser.run("return seen") == expected


async def test_an_error_has_its_own_event(tmp_path: Path) -> None:
    async with _page(tmp_path) as (_, browser):
        await browser.run(LISTEN % "/v1/ticks?count=9&fail_after=2")
        await browser.until("return tail.readyState === EventSource.CLOSED")
        assert await browser.run("return seen") == [["open"], _message(1), _message(2), ["error", "RESOURCE_EXHAUSTED"]]


async def test_a_stream_that_is_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    """The browser comes back by itself with Last-Event-ID: nothing is lost, and nothing comes twice."""
    async with _page(tmp_path) as (served, browser):
        await browser.run(LISTEN % "/v1/ticks?count=2&linger=true")
        for cut in range(3):
            await browser.until(f"return seen.filter((each) => each[0] === 'message').length === {2 * (cut + 1)}")
            await served.gateway.end_streams()
        await browser.until("return seen.filter((each) => each[0] === 'message').length === 8")
        seen = await browser.run("tail.close(); return seen")
        assert [each for each in seen if each[0] == "message"] == [_message(number) for number in range(1, 9)]
        assert [each for each in seen if each[0] == "error"] == [["error", "cut off"]] * 3


async def test_a_stream_without_a_rest_is_not_asked_for_again(tmp_path: Path) -> None:
    """The answer is 204, and the browser gives up for good, though the page has not closed the stream."""
    handlers = Handlers()

    async def three(request: Any, context: Any) -> AsyncIterator[Any]:
        for number in range(int(request.cursor or 0) + 1, 4):
            yield message("Tick")(number=number, cursor=str(number))

    handlers.on_count = three  # type: ignore[method-assign]
    async with _page(tmp_path, handlers) as (_, browser):
        await browser.run(
            """
            window.seen = [];
            window.tail = new EventSource("/v1/ticks");
            tail.onmessage = (event) => seen.push(event.lastEventId);
            """
        )
        await browser.until("return tail.readyState === EventSource.CLOSED")
        assert await browser.run("return seen") == ["1", "2", "3"]

"""CPU time of a unary GET through the gateway, in the process, against a bare aiohttp handler of the same bytes.

    python -m tests.bench.bench_gateway [SECONDS]

Both are served by one process and asked in turns over one kept connection each, so that the machine's moods meet both.
The client's share is measured with them; it is the same for both, so that the true ratio is a little higher.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web

from orchestration.gateway import Gateway, InProcessUpstream
from tests.bench.results import Row
from tests.bench.servers import Servers
from tests.support.transcoding_service import SERVICE, Handlers, pool

ROUND = 500
SECONDS = 5.0


class Client:
    """Sends one request again and again, with as little work of its own as can be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> None:
        self._reader, self._writer = reader, writer
        self._request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\n\r\n".encode()
        self._length = 0

    async def ask(self) -> bytes:
        """One answer. All must be as long as the first one."""
        self._writer.write(self._request)
        if not self._length:
            head = await self._reader.readuntil(b"\r\n\r\n")
            body = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self._length = len(head) + body
            return head + await self._reader.readexactly(body)
        return await self._reader.readexactly(self._length)

    async def measure(self) -> float:
        """CPU seconds of a request, client included."""
        start = time.process_time()
        for _ in range(ROUND):
            await self.ask()
        return (time.process_time() - start) / ROUND


@asynccontextmanager
async def serving(app: web.Application, path: str) -> AsyncGenerator[Client, None]:
    """An application, and a client of it."""
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    try:
        yield Client(reader, writer, path)
    finally:
        writer.close()
        await writer.wait_closed()
        await runner.cleanup()


async def measure(seconds: float) -> list[tuple[float, float]]:
    """CPU seconds of a request of each round: of the bare handler, and of the gateway."""
    handlers = Handlers()
    gateway = Gateway(InProcessUpstream([handlers.register], (), pool()), [SERVICE])
    await gateway.start()
    full, bare = web.Application(), web.Application()
    gateway.install(full)
    async with serving(full, "/v1/things/abc") as client:
        body = (await client.ask()).partition(b"\r\n\r\n")[2]

        async def answer(_: web.Request) -> web.Response:
            return web.Response(body=body, content_type="application/json")

        bare.router.add_get("/v1/things/{name}", answer)
        async with serving(bare, "/v1/things/abc") as baseline:
            await baseline.ask()
            figures: list[tuple[float, float]] = []
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                figures.append((await baseline.measure(), await client.measure()))
    return figures


async def rows(_: Servers) -> list[Row]:
    """The transcoder alone, without interceptors and use cases."""
    figures = await measure(SECONDS)
    bare, full = (statistics.median(column) * 1e6 for column in zip(*figures, strict=True))
    return [
        Row(
            figure="transcoder alone, GET, CPU with the client's",
            value=full,
            unit="us",
            peer="bare aiohttp handler, same bytes",
            peer_value=bare,
            ratio=statistics.median(ours / theirs for theirs, ours in figures),
        )
    ]


def main(seconds: float) -> None:
    """Print the table."""
    figures = asyncio.run(measure(seconds))
    best = [min(column) * 1e6 for column in zip(*figures, strict=True)]
    print(f"{'unary GET, CPU per request':<40}{'us':>8}{'ratio':>8}")
    print(f"{'bare aiohttp handler, same bytes':<40}{best[0]:>8.1f}{1.0:>8.2f}")
    print(f"{'gateway, handler in the process':<40}{best[1]:>8.1f}{best[1] / best[0]:>8.2f}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)

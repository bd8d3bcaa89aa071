"""Lists: of 100 deployments against the JSON alone, asked for again, and of a page out of many against one of few."""

from __future__ import annotations

import time
from functools import partial
from itertools import cycle

from google.protobuf.json_format import MessageToJson, Parse

from orchestration.v1 import model_deployments_pb2 as pb
from tests.bench.measuring import cpu_per_call, in_turns, quantile
from tests.bench.results import Row, Target
from tests.bench.servers import LARGE, SMALL, Server, Servers

_LIST = "/deployment/deployments?page_size=100"
_OTHER = "/deployment/deployments?page_size=99"
"""In turns with the list, whose JSON is not that of the answer before it then."""
_PAGE = "/deployment/deployments?page_size=50"


async def rows(servers: Servers) -> list[Row]:
    """All figures."""
    return [*await _hundred(servers), await _page(servers)]


async def _hundred(servers: Servers) -> list[Row]:
    server = await servers.gateway(SMALL)
    message = Parse(await server.get(_LIST), pb.ListDeploymentsResponse())

    async def cost(*paths: str) -> float:
        turns = cycle(paths)
        return await cpu_per_call(server.pid, lambda _: server.get(next(turns)), callers=2, each=25) / 1000

    async def json_format() -> float:
        before = time.process_time()
        for _ in range(5):
            MessageToJson(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        return (time.process_time() - before) / 5 * 1000

    rounds = await in_turns(
        5, {"ours": partial(cost, _LIST, _OTHER), "again": partial(cost, _LIST), "peer": json_format}
    )
    listed = Row(
        figure="list of 100 deployments over REST, CPU",
        value=rounds.median("ours"),
        unit="ms",
        peer="json_format of that message alone",
        peer_value=rounds.median("peer"),
        ratio=rounds.ratio("ours", "peer"),
        target=Target("<=", 0.1),
    )
    again = Row(
        figure="the same list again, CPU",
        value=rounds.median("again"),
        unit="ms",
        peer="in turns with another",
        peer_value=rounds.median("ours"),
        ratio=rounds.ratio("again", "ours"),
    )
    return [listed, again]


async def _page(servers: Servers) -> Row:
    large, small = await servers.gateway(LARGE), await servers.gateway(SMALL)
    await large.get(_PAGE)

    async def p99(server: Server) -> float:
        taken: list[float] = []
        for _ in range(200):
            before = time.perf_counter()
            await server.get(_PAGE)
            taken.append(time.perf_counter() - before)
        return quantile(taken, 0.99) * 1000

    rounds = await in_turns(5, {"large": partial(p99, large), "small": partial(p99, small)})
    return Row(
        figure=f"list of 50 out of {LARGE:,}, p99",
        value=rounds.median("large"),
        unit="ms",
        peer=f"the same out of {SMALL}",
        peer_value=rounds.median("small"),
        ratio=rounds.ratio("large", "small"),
        target=Target("<=", 1.5),
    )

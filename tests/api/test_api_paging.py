"""Lists in pages: sizes, tokens, order, and what happens between two pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.caller import Caller
from tests.support.faces import face_of
from tests.support.gateway import eventually, running_gateway


@dataclass(frozen=True)
class Listing:
    """A list RPC, how to add to what it lists, and another query that its tokens must not fit."""

    rpc: str
    items: str
    id_field: str
    add: Callable[[Caller, int], Awaitable[str]]
    query: Callable[[Caller], Awaitable[dict[str, Any]]]
    other: dict[str, Any]


async def add_pool(api: Caller, number: int) -> str:
    return await api.make_pool(f"pool-{number}", owner_id="ann")


async def add_model(api: Caller, number: int) -> str:
    return await api.make_model("llama", str(number))


async def add_node(api: Caller, number: int) -> str:
    node = {"provider": "nosana", "provider_instance_id": f"job-{number}", "pool_id": await market(api)}
    return str((await api.call("RegisterNode", **node))["node_id"])


async def add_deployment(api: Caller, number: int) -> str:
    return await api.deploy(await market(api), model_name="one", labels={"number": str(number)}, replicas=0)


async def market(api: Caller) -> str:
    """The one pool that nodes and deployments are put in."""
    pools = (await api.call("ListPools", owner_id="market"))["pools"]
    return str(pools[0]["pool_id"]) if pools else await api.make_pool("market", provider="nosana", owner_id="market")


async def of_pool(api: Caller) -> dict[str, Any]:
    return {"pool_id": await market(api)}


def fixed(**query: Any) -> Callable[[Caller], Awaitable[dict[str, Any]]]:
    async def give(_: Caller) -> dict[str, Any]:
        return query

    return give


LISTINGS = [
    Listing("ListPools", "pools", "pool_id", add_pool, fixed(owner_id="ann"), {"owner_id": "bob"}),
    Listing("ListModels", "models", "model_id", add_model, fixed(model_name="llama"), {"model_name": "other"}),
    Listing("ListPoolInventory", "nodes", "node_id", add_node, of_pool, {"show_terminated": True}),
    Listing("ListNodes", "nodes", "node_id", add_node, fixed(provider="nosana"), {"provider": "ray"}),
    Listing("ListDeployments", "deployments", "deployment_id", add_deployment, of_pool, {"model_name": "one"}),
]
every_list = pytest.mark.parametrize("listing", LISTINGS, ids=lambda listing: listing.rpc)


@pytest.fixture(params=["grpc", "rest"])
async def lists(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Caller]:
    """A caller of a gateway with nothing that runs."""
    async with running_gateway(tmp_path) as gateway:
        yield Caller(face_of(request.param, gateway), gateway)


async def ids(api: Caller, listing: Listing, **fields: Any) -> tuple[list[str], str, int]:
    """The ids on one page, the token for the next, and how many there are in all."""
    answer = await api.call(listing.rpc, **{**await listing.query(api), **fields})
    found = [item[listing.id_field] for item in answer[listing.items]]
    return found, answer["next_page_token"], answer["total_size"]


@every_list
async def test_pages_are_whole_newest_first_and_without_repetition(lists: Caller, listing: Listing) -> None:
    made = [await listing.add(lists, number) for number in range(5)]
    seen: list[str] = []
    token, pages = "", 0
    while token or not pages:
        page, token, total = await ids(lists, listing, page_size=2, page_token=token)
        assert total == 5
        seen += page
        pages += 1
    assert seen == made[::-1]
    assert pages == 3


@every_list
async def test_a_last_page_that_is_full_has_no_token(lists: Caller, listing: Listing) -> None:
    for number in range(2):
        await listing.add(lists, number)
    page, token, _ = await ids(lists, listing, page_size=2)
    assert (len(page), token) == (2, "")


@every_list
async def test_what_is_added_between_two_pages_moves_nothing(lists: Caller, listing: Listing) -> None:
    made = [await listing.add(lists, number) for number in range(4)]
    first, token, _ = await ids(lists, listing, page_size=2)
    newer = [await listing.add(lists, number) for number in range(4, 7)]
    second, last, total = await ids(lists, listing, page_size=2, page_token=token)
    assert first + second == made[::-1]
    assert (last, total) == ("", 7)
    assert (await ids(lists, listing))[0] == [*newer[::-1], *made[::-1]]


@every_list
async def test_a_token_holds_for_its_query_only(lists: Caller, listing: Listing) -> None:
    for number in range(3):
        await listing.add(lists, number)
    _, token, _ = await ids(lists, listing, page_size=1)
    wrong = {**await listing.query(lists), **listing.other, "page_token": token}
    assert "other filters" in await lists.invalid("page_token", listing.rpc, **wrong)
    page, _, _ = await ids(lists, listing, page_size=2, page_token=token)
    assert len(page) == 2, "another page size is no other query"


@every_list
async def test_what_is_no_token_is_refused(lists: Caller, listing: Listing) -> None:
    for token in ("nonsense", "!!!", "AAAA", "é"):
        await lists.invalid("page_token", listing.rpc, **await listing.query(lists), page_token=token)


@every_list
async def test_a_negative_size_is_refused(lists: Caller, listing: Listing) -> None:
    assert "-1" in await lists.invalid("page_size", listing.rpc, **await listing.query(lists), page_size=-1)


async def test_nothing_and_zero_mean_fifty_and_a_thousand_is_the_most(lists: Caller) -> None:
    for first in range(0, 1002, 167):  # all at once wait for each other, at worst longer than a write may wait
        await asyncio.gather(*(lists.make_model("llama", str(number)) for number in range(first, first + 167)))
    for given, expected in (({}, 50), ({"page_size": 0}, 50), ({"page_size": 1000}, 1000), ({"page_size": 5000}, 1000)):
        answer = await lists.call("ListModels", model_name="llama", **given)
        assert (len(answer["models"]), answer["total_size"]) == (expected, 1002)
        assert answer["next_page_token"]


async def test_events_are_paged(lists: Caller) -> None:
    deployment_id = await add_deployment(lists, 0)
    for number in range(4):
        await lists.call("ScaleDeployment", deployment_id=deployment_id, replicas=number + 1)

    async def all_wait() -> bool:
        told = await lists.call("ListDeploymentEvents", deployment_id=deployment_id)
        return [event["reason"] for event in told["events"]].count("REPLICA_WAITING") == 4

    await eventually(all_wait)
    query = {"deployment_id": deployment_id, "page_size": 2}
    whole = await lists.call("ListDeploymentEvents", deployment_id=deployment_id)
    first = await lists.call("ListDeploymentEvents", **query)
    await lists.call("ScaleDeployment", deployment_id=deployment_id, replicas=9)
    second = await lists.call("ListDeploymentEvents", **query, page_token=first["next_page_token"])
    assert first["events"] + second["events"] == whole["events"][:4]
    other = await add_deployment(lists, 1)
    wrong = {"deployment_id": other, "page_token": first["next_page_token"]}
    assert "other filters" in await lists.invalid("page_token", "ListDeploymentEvents", **wrong)


async def test_resources_are_paged(lists: Caller) -> None:
    answer = await lists.call("ListProviderResources", provider="*", page_size=1)
    assert answer["total_size"] >= len(answer["resources"]) == 1
    await lists.invalid("page_size", "ListProviderResources", provider="*", page_size=-1)
    await lists.invalid("page_token", "ListProviderResources", provider="*", page_token="nonsense")


async def test_a_deployment_that_is_not_listed_any_more_does_not_break_its_token(lists: Caller) -> None:
    """The token names a place in the order, not a row: that row may be purged meanwhile."""
    made = [await add_deployment(lists, number) for number in range(3)]
    first = await lists.call("ListDeployments", page_size=1)
    assert first["deployments"][0]["deployment_id"] == made[2]
    await lists.terminate(made[2])
    await lists.call("PurgeDeployment", deployment_id=made[2])
    second = await lists.call("ListDeployments", page_token=first["next_page_token"])
    assert [item["deployment_id"] for item in second["deployments"]] == made[1::-1]

"""Watching deployments: the snapshot, the changes, and going on after a break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestration.store import feed
from orchestration.store.store import Store
from tests.support.caller import Caller
from tests.support.faces import ApiError
from tests.support.gateway import eventually
from tests.support.stores import sqlite_url


async def take(stream: AsyncIterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The next messages."""
    async with asyncio.timeout(30):
        return [await anext(stream) for _ in range(count)]


async def until(stream: AsyncIterator[dict[str, Any]], kind: str, **fields: Any) -> dict[str, Any]:
    """The next message of that type whose deployment has these values."""
    async with asyncio.timeout(30):
        async for message in stream:
            deployment = message["deployment"]
            if message["type"] == kind and all(deployment[name] == value for name, value in fields.items()):
                return message
    raise AssertionError("the stream ended")


async def until_synced(stream: AsyncIterator[dict[str, Any]]) -> str:
    """The resume token at the end of the snapshot."""
    async with asyncio.timeout(30):
        async for message in stream:
            if message["type"] == "SYNCED":
                return str(message["resume_token"])
    raise AssertionError("the stream ended")


def shape(message: dict[str, Any]) -> tuple[str, str | None]:
    """The type and the deployment's id."""
    deployment: dict[str, Any] = message.get("deployment") or {"deployment_id": None}
    return message["type"], deployment["deployment_id"]


async def test_a_snapshot_and_then_each_change(api: Caller) -> None:
    pool_id = await api.make_pool()
    first = await api.deploy(pool_id, replicas=0)
    second = await api.deploy(pool_id, replicas=0)
    await api.reach(second, "RUNNING")
    async with api.stream("WatchDeployments") as stream:
        snapshot = await take(stream, 3)
        assert [shape(message) for message in snapshot] == [("ADDED", first), ("ADDED", second), ("SYNCED", None)]
        assert snapshot[1]["deployment"] == await api.status(second)
        assert snapshot[2]["resume_token"]
        third = await api.deploy(pool_id, replicas=0)
        await until(stream, "ADDED", deployment_id=third, status="RUNNING")
        await api.call("UpdateDeployment", deployment_id=first, labels={"a": "b"})
        changed = await until(stream, "MODIFIED", deployment_id=first, labels={"a": "b"})
        assert changed["deployment"] == await api.status(first)
        await api.terminate(first)
        await until(stream, "MODIFIED", deployment_id=first, status="STOPPED")
        await api.call("PurgeDeployment", deployment_id=first)
        assert (await until(stream, "DELETED", deployment_id=first))["resume_token"]


async def test_an_empty_gateway_is_synced_at_once(api: Caller) -> None:
    async with api.stream("WatchDeployments") as stream:
        assert [shape(message) for message in await take(stream, 1)] == [("SYNCED", None)]


async def test_replicas_that_change_are_told(api: Caller) -> None:
    async with api.stream("WatchDeployments") as stream:
        await take(stream, 1)
        deployment_id = await api.deploy(await api.make_pool())
        message = await until(stream, "MODIFIED", deployment_id=deployment_id, status="RUNNING")
        assert message["deployment"]["ready_replicas"] == 1
        await api.call("DeleteDeployment", deployment_id=deployment_id)
        message = await until(stream, "MODIFIED", deployment_id=deployment_id, status="STOPPED")
        assert message["deployment"]["replica_statuses"] == []


@pytest.mark.parametrize("by", ["org_id", "pool_id", "deployment_id", "model_name"])
async def test_a_watch_selects(api: Caller, by: str) -> None:
    a, b = await api.make_pool("a"), await api.make_pool("b")
    other = await api.deploy(a, replicas=0, org_id="acme", model_name="one")
    wanted = await api.deploy(b, replicas=0, org_id="zeta", model_name="two")
    value = (await api.status(wanted))[by]
    async with api.stream("WatchDeployments", **{by: value}) as stream:
        assert [shape(message) for message in await take(stream, 2)] == [("ADDED", wanted), ("SYNCED", None)]
        await api.call("UpdateDeployment", deployment_id=other, labels={"seen": "no"})
        await api.call("UpdateDeployment", deployment_id=wanted, labels={"seen": "yes"})
        async with asyncio.timeout(30):
            async for message in stream:
                assert message["deployment"]["deployment_id"] == wanted
                if message["deployment"]["labels"] == {"seen": "yes"}:
                    break


async def test_a_resumed_watch_tells_what_was_missed_and_no_snapshot(api: Caller) -> None:
    pool_id = await api.make_pool()
    quiet = await api.deploy(pool_id, replicas=0)
    gone = await api.deploy(pool_id, replicas=0)
    await api.reach(quiet, "RUNNING")
    await api.terminate(gone)
    async with api.stream("WatchDeployments") as stream:
        token = (await take(stream, 3))[-1]["resume_token"]
    await api.call("PurgeDeployment", deployment_id=gone)
    new = await api.deploy(pool_id, replicas=0)
    await api.reach(new, "RUNNING")
    async with api.stream("WatchDeployments", resume_token=token) as stream:
        missed = await take(stream, 2)
        assert {message["deployment"]["deployment_id"]: message["type"] for message in missed} == {
            gone: "DELETED",
            new: "ADDED",
        }
        token = missed[-1]["resume_token"]
        assert token
    async with api.stream("WatchDeployments", resume_token=token) as stream:
        later = await api.deploy(pool_id, replicas=0)
        await until(stream, "ADDED", deployment_id=later)


async def test_each_change_can_be_resumed_from(api: Caller) -> None:
    """Two deployments that change in one transaction are two messages, each with a token of its own."""
    pool_id = await api.make_pool()
    made = {await api.deploy(pool_id, replicas=0) for _ in range(2)}
    for deployment_id in made:
        await api.reach(deployment_id, "RUNNING")
    async with api.stream("WatchDeployments") as stream:
        await until_synced(stream)
        await api.call("DeletePool", pool_id=pool_id, force=True)
        message = first = await until(stream, "MODIFIED", status="STOPPED")
        while message["deployment"]["deployment_id"] == first["deployment"]["deployment_id"]:
            message = await until(stream, "MODIFIED", status="STOPPED")
    assert first["resume_token"]
    (other,) = made - {first["deployment"]["deployment_id"]}
    async with api.stream("WatchDeployments", resume_token=first["resume_token"]) as stream:
        await until(stream, "MODIFIED", deployment_id=other, status="STOPPED")


async def test_what_is_new_after_a_watch_was_resumed_is_added(api: Caller) -> None:
    pool_id = await api.make_pool()
    async with api.stream("WatchDeployments") as stream:
        token = await until_synced(stream)
    async with api.stream("WatchDeployments", resume_token=token) as stream:
        # The call is under way, and nothing was missed, once a first change has come.
        while True:
            probe = await api.deploy(pool_id, replicas=0)
            if shape((await take(stream, 1))[0])[1] == probe:
                break
        new = await api.deploy(pool_id, replicas=0)
        await until(stream, "ADDED", deployment_id=new)


async def test_a_replica_that_goes_is_told(api: Caller) -> None:
    deployment_id = await api.running(replicas=2)
    async with api.stream("WatchDeployments") as stream:
        await until_synced(stream)
        await api.call("ScaleDeployment", deployment_id=deployment_id, replicas=1)
        async with asyncio.timeout(30):
            async for message in stream:
                if len(message["deployment"]["replica_statuses"]) == 1:
                    assert message["deployment"]["status"] == "RUNNING"
                    break


async def test_a_replica_that_went_before_the_watch_was_resumed_is_told(api: Caller) -> None:
    deployment_id = await api.running(replicas=2)
    async with api.stream("WatchDeployments") as stream:
        token = await until_synced(stream)
    await api.call("ScaleDeployment", deployment_id=deployment_id, replicas=1)

    async def one_left() -> bool:
        return len((await api.status(deployment_id))["replica_statuses"]) == 1

    await eventually(one_left, within_s=30)
    async with api.stream("WatchDeployments", resume_token=token) as stream:
        (message,) = await take(stream, 1)
        assert len(message["deployment"]["replica_statuses"]) == 1


async def test_a_token_that_is_too_old_is_out_of_range(api: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "RING_SIZE", 10)
    monkeypatch.setattr(feed, "_CHUNK", 1)
    deployment_id = await api.deploy(await api.make_pool(), replicas=0)
    async with api.stream("WatchDeployments", deployment_id=deployment_id) as stream:
        token = await until_synced(stream)
    for number in range(20):
        await api.call("UpdateDeployment", deployment_id=deployment_id, labels={"number": str(number)})
    async with api.stream("WatchDeployments", deployment_id=deployment_id, resume_token=token) as stream:
        (message,) = await take(stream, 1)  # memory has forgotten it, the database has not
        assert message["deployment"]["labels"] == {"number": "19"}
    async with await Store.open(sqlite_url(api.gateway.data_dir / "orchestration.db")) as store:
        await store.trim(changes_s=-1)
    with pytest.raises(ApiError) as caught:
        async with api.stream("WatchDeployments", deployment_id=deployment_id, resume_token=token) as stream:
            await anext(stream)
    assert (caught.value.code, caught.value.reason) == ("OUT_OF_RANGE", "RESUME_TOKEN_TOO_OLD")
    assert "watch without it" in caught.value.message


async def test_what_is_no_token_of_this_gateway_is_refused(api: Caller) -> None:
    for token in ("nonsense", "!!!", "é"):
        with pytest.raises(ApiError) as caught:
            async with api.stream("WatchDeployments", resume_token=token) as stream:
                await anext(stream)
        assert caught.value.code == "INVALID_ARGUMENT"
        assert list(caught.value.violations) == ["resume_token"]


async def test_a_token_as_the_first_release_made_them_sends_the_watcher_for_a_snapshot(api: Caller) -> None:
    with pytest.raises(ApiError) as caught:
        async with api.stream("WatchDeployments", resume_token="cjk5OTk5OTk5OTk") as stream:
            await anext(stream)
    assert (caught.value.code, caught.value.reason) == ("OUT_OF_RANGE", "RESUME_TOKEN_TOO_OLD")

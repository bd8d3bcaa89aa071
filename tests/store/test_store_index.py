# pyright: reportPrivateUsage=false
"""The memory index: pages, searches, and that it always equals the database."""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.store.errors import BrokenReferenceError, DuplicateError
from orchestration.store.index import Index
from orchestration.store.records import KINDS, Change, Deployment, Node, Pool, Record, Replica
from orchestration.store.store import Store
from tests.support.stores import deployment, node, pool, replica, sqlite_url


def fill(index: Index, *records: Record) -> None:
    index.load(records)


def put(index: Index, record: Record, *, tombstone: bool = False) -> None:
    revision = index.revision + 1
    change = Change(revision=revision, kind=record.kind, id=record.id, tombstone=tombstone)
    index.apply([change], {} if tombstone else {(record.kind, record.id): record}, revision)


def ids(records: list[Deployment]) -> list[str]:
    return [record.id for record in records]


def test_pages_are_newest_first_and_stable_under_inserts() -> None:
    index = Index()
    fill(index, *(deployment("p", id=f"{n:03}") for n in range(10)))
    first, total = index.page(Deployment, before=None, limit=4)
    assert (ids(first), total) == (["009", "008", "007", "006"], 10)
    put(index, deployment("p", id="999"))
    put(index, first[-1], tombstone=True)
    second, total = index.page(Deployment, before=first[-1].id, limit=4)
    assert (ids(second), total) == (["005", "004", "003", "002"], 10)
    last, _ = index.page(Deployment, before=second[-1].id, limit=4)
    assert ids(last) == ["001", "000"]
    assert index.page(Deployment, before=last[-1].id, limit=4) == ([], 10)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, 12),
        ({"org_id": "a"}, 6),
        ({"org_id": "A"}, 0),
        ({"org_id": "a", "pool_id": "p2"}, 2),
        ({"engine": "tgi"}, 4),
        ({"engine": "tgi", "org_id": "b"}, 2),
        ({"org_id": "nobody", "engine": "tgi"}, 0),
    ],
)
def test_filters(where: dict[str, str], expected: int) -> None:
    index = Index()
    for n in range(12):
        engine = "tgi" if n % 3 == 0 else "vllm"
        put(index, deployment(f"p{n % 3}", id=f"{n:03}", org_id="ab"[n % 2], engine=engine))
    page, total = index.page(Deployment, where=where, before=None, limit=100)
    matching = [d.id for d in index.all(Deployment) if all(getattr(d, k) == v for k, v in where.items())]
    assert (ids(page), total) == (matching[::-1], expected)
    assert ids(index.find(Deployment, **where)) == matching


def test_a_predicate_filters_and_counts() -> None:
    index = Index()
    fill(index, *(deployment("p", id=f"{n:03}", replicas=n) for n in range(10)))
    page, total = index.page(
        Deployment, where={"pool_id": "p"}, before="008", limit=2, keep=lambda d: d.replicas % 2 == 0
    )
    assert (ids(page), total) == (["006", "004"], 5)


def test_records_move_between_values() -> None:
    index = Index()
    one = replica("d", id="r1", instance_name="a")
    put(index, one)
    put(index, dataclasses.replace(one, instance_name="b", node_id="n"))
    assert index.find(Replica, instance_name="a") == []
    assert [r.id for r in index.find(Replica, node_id="n", instance_name="b")] == ["r1"]
    assert [r.id for r in index.find(Replica, deployment_id=("x", "d"))] == ["r1"]
    put(index, one, tombstone=True)
    assert index.all(Replica) == index.find(Replica, deployment_id="d") == []
    assert not any(index.table(Replica)._buckets.values())


def test_a_commit_may_be_heard_of_twice() -> None:
    index = Index()
    put(index, pool(id="p", name="new"))
    change = Change(revision=1, kind="pool", id="p", tombstone=False)
    with index.subscribe() as changes:
        index.apply([change], {("pool", "p"): pool(id="p", name="old")}, 1)
        assert changes.take() == []
    found = index.get(Pool, "p")
    assert found is not None
    assert found.name == "new"


class Counting(dict[str, Deployment]):
    """Rows that count how often one is looked at."""

    looks = 0

    def __getitem__(self, key: str) -> Deployment:
        self.looks += 1
        return super().__getitem__(key)


@pytest.mark.parametrize("size", [100, 20_000])
def test_a_page_looks_at_no_more_than_it_gives_however_large_the_table_is(size: int) -> None:
    index = Index()
    fill(index, *(deployment("p", id=f"{n:06}") for n in range(size)))
    rows = Counting(index.table(Deployment).rows)
    index.table(Deployment).rows = rows
    page, total = index.page(Deployment, where={"org_id": "acme"}, before=f"{size - 10:06}", limit=50)
    assert (len(page), total) == (50, size)
    assert rows.looks == 50


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["pool", "deployment", "node", "rename", "move", "drop", "beat", "fail"]),
        st.integers(0, 4),
        st.integers(0, 4),
    ),
    max_size=25,
)


class Machine:
    """Does random things to a store; what the store refuses is part of them."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def step(self, what: str, first: int, second: int) -> None:
        if what == "beat":
            self.store.beat(f"n{first}", health_score=float(second), last_heartbeat_at=float(second))
            return
        try:
            async with self.store.write(actor="machine") as tx:
                if what == "pool":
                    await tx.insert(pool(id=f"p{first}", name=f"name{second}"))
                elif what == "deployment":
                    await tx.insert(deployment(f"p{first}", id=f"d{second}"))
                elif what == "node":
                    await tx.insert(node(f"p{first}", id=f"n{second}", provider_instance_id=f"i{second}"))
                elif what == "rename" and (found := await tx.get(Pool, f"p{first}")):
                    await tx.update(dataclasses.replace(found, name=f"name{second}"))
                elif what == "move" and (moved := await tx.get(Node, f"n{first}")):
                    await tx.update(dataclasses.replace(moved, pool_id=f"p{second}"))
                elif what == "drop":
                    for cls in (Deployment, Node, Pool):
                        for record in await tx.select(cls, id=f"{cls.kind[0]}{first}"):
                            await tx.delete(record)
                elif what == "fail":
                    await tx.insert(pool(id=f"p{first}", name=f"name{second}"))
                    await tx.insert(pool(id=f"p{first}"))
        except (DuplicateError, BrokenReferenceError):
            return


def everything(store: Store) -> list[list[Record]]:
    return [list(store.index.all(cls)) for cls in KINDS]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(steps=STEPS)
def test_the_index_equals_the_database(steps: list[Step]) -> None:
    """After any operations, one after the other or at once: reopened, and followed by another process."""

    async def run(folder: Path) -> None:
        url = sqlite_url(folder / "store.db")
        async with await Store.open(url) as store, await Store.open(url) as follower:
            machine = Machine(store)
            half = len(steps) // 2
            for step in steps[:half]:
                await machine.step(*step)
            await asyncio.gather(*(machine.step(*step) for step in steps[half:]))
            await store.flush_beats()
            await follower.follower.catch_up()
            await follower.follower.read_liveness()
            assert follower.index.revision == store.index.revision
            assert everything(follower) == everything(store)
            expected = everything(store)
        async with await Store.open(url) as reopened:
            assert everything(reopened) == expected

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))

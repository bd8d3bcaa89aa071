"""For how long, and of whom, the first answer to a request id stands."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from sqlalchemy import update

from orchestration.service.errors import AlreadyExistsError
from orchestration.service.usecases.mutations import ANSWER_TTL_S, Mutations
from orchestration.store.store import Store
from orchestration.store.tables import answers
from orchestration.store.transaction import Transaction
from orchestration.v1 import model_deployments_pb2 as pb
from tests.support.stores import FakeClock, sqlite_url


class Deploys:
    """Calls of one method; each that is really done has an answer of its own."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store = store
        self._mutations = Mutations(store, clock)
        self._done = 0

    async def call(self, org_id: str = "acme", *, replicas: int = 1) -> str:
        request = pb.DeployModelRequest(org_id=org_id, replicas=replicas, request_id="k")
        answer = await self._mutations.run("DeployModel", request, pb.DeployModelResponse, self._deploy)
        return answer.deployment_id

    async def _deploy(self, _: Transaction) -> pb.DeployModelResponse:
        self._done += 1
        return pb.DeployModelResponse(deployment_id=f"made-{self._done}")

    async def as_first_release(self, org_id: str = "acme") -> None:
        """Leave the answer to a call as the first release would have: it knew no tenants."""
        await self.call(org_id)
        async with self.store.write(actor="test") as tx:
            await tx.run(update(answers).values(scope="DeployModel"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def deploys(tmp_path: Path, clock: FakeClock) -> AsyncGenerator[Deploys]:
    async with await Store.open(sqlite_url(tmp_path / "store.db"), clock=clock) as store:
        yield Deploys(store, clock)


async def test_an_id_can_be_used_again_after_its_time_also_before_the_answer_is_trimmed(
    deploys: Deploys, clock: FakeClock
) -> None:
    first = await deploys.call()
    clock.now += ANSWER_TTL_S - 1
    assert await deploys.call() == first
    clock.now += 1
    second = await deploys.call(replicas=2)
    assert second != first
    clock.now += ANSWER_TTL_S - 1
    assert await deploys.call(replicas=2) == second
    await deploys.store.trim()
    assert await deploys.call(replicas=2) == second


async def test_what_the_first_release_has_answered_is_not_done_again(deploys: Deploys, clock: FakeClock) -> None:
    await deploys.as_first_release()
    assert await deploys.call() == "made-1"
    clock.now += ANSWER_TTL_S
    assert await deploys.call() == "made-2"


async def test_an_answer_of_the_first_release_is_for_the_same_request_alone(deploys: Deploys) -> None:
    await deploys.as_first_release()
    assert await deploys.call("zeta") == "made-2"
    assert await deploys.call(replicas=2) == "made-3"
    with pytest.raises(AlreadyExistsError):
        await deploys.call(replicas=1)

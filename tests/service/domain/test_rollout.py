"""Rollouts keep their budget at every instant, whatever the order in which replicas become ready."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.service.domain.rollout import plan
from orchestration.service.domain.status import is_complete
from orchestration.store.records import Deployment, DesiredState, Replica, ReplicaState


def deployment(replicas: int, surge: int = 0, unavailable: int = 1, generation: int = 1) -> Deployment:
    return Deployment(
        id="d",
        org_id="",
        owner_id="",
        pool_id="p",
        model_name="m",
        engine="custom",
        inference_model="",
        replicas=replicas,
        max_surge=surge,
        max_unavailable=unavailable,
        generation=generation,
    )


class World:
    """Replicas that become ready, and go, one at a time."""

    def __init__(self, wanted: Deployment) -> None:
        self.wanted = wanted
        self.replicas: list[Replica] = []
        self.made = 0

    def reconcile(self) -> None:
        step = plan(self.wanted, self.replicas)
        ended = {replica.id for replica in step.terminate}
        self.replicas = [
            replace(item, state=ReplicaState.TERMINATING) if item.id in ended else item for item in self.replicas
        ]
        for ordinal in step.create:
            self.made += 1
            name = f"r{self.made}"
            self.replicas.append(
                Replica(
                    id=name,
                    deployment_id="d",
                    ordinal=ordinal,
                    generation=self.wanted.generation,
                    created_at=float(self.made),
                )
            )

    def advance(self, choice: int) -> None:
        """Let one replica that is not settled take its next step."""
        moving = [item for item in self.replicas if item.state is not ReplicaState.READY]
        if not moving:
            return
        item = moving[choice % len(moving)]
        if item.state is ReplicaState.TERMINATING:
            self.replicas.remove(item)
        else:
            self.replicas[self.replicas.index(item)] = replace(item, state=ReplicaState.READY)

    def settle(self, choices: list[int]) -> None:
        for choice in [*choices, *([0] * 200)]:
            self.reconcile()
            self.check()
            self.advance(choice)
        self.reconcile()

    def check(self) -> None:
        live = len(self.replicas)
        assert live <= max(self.wanted.replicas + self.wanted.max_surge, self.ceiling), "beyond the surge"

    ceiling = 0


@given(
    replicas=st.integers(1, 8),
    surge=st.integers(0, 3),
    unavailable=st.integers(0, 3),
    choices=st.lists(st.integers(0, 50), max_size=60),
)
@settings(max_examples=150, deadline=None)
def test_update_ends_and_keeps_its_budget(replicas: int, surge: int, unavailable: int, choices: list[int]) -> None:
    if surge + unavailable == 0:
        unavailable = 1
    world = World(deployment(replicas, surge, unavailable))
    world.settle([])
    assert is_complete(world.wanted, world.replicas)

    world.wanted = replace(world.wanted, generation=2)
    for choice in [*choices, *([0] * 200)]:
        world.reconcile()
        world.check()
        ready = sum(item.state is ReplicaState.READY for item in world.replicas)
        assert ready >= min(replicas, replicas - unavailable), "fewer ready than the budget leaves"
        world.advance(choice)
    world.reconcile()
    assert is_complete(world.wanted, world.replicas)


@given(before=st.integers(0, 8), after=st.integers(0, 8), choices=st.lists(st.integers(0, 50), max_size=40))
@settings(deadline=None)
def test_scaling_ends_with_what_is_wanted(before: int, after: int, choices: list[int]) -> None:
    world = World(deployment(before))
    world.settle([])
    world.ceiling = max(before, after)
    world.wanted = replace(world.wanted, replicas=after)
    world.settle(choices)
    assert is_complete(world.wanted, world.replicas)
    assert sorted(item.ordinal for item in world.replicas) == sorted({item.ordinal for item in world.replicas})


def test_scaling_down_gives_up_unhealthy_replicas_first_and_then_the_newest() -> None:
    made = [
        Replica(id=f"r{n}", deployment_id="d", ordinal=n, generation=1, created_at=float(n), state=ReplicaState.READY)
        for n in range(4)
    ]
    made[1] = replace(made[1], state=ReplicaState.UNHEALTHY)
    made[2] = replace(made[2], state=ReplicaState.STARTING)
    for replicas, expected in ((3, ["r1"]), (2, ["r1", "r2"]), (1, ["r1", "r2", "r3"])):
        assert [replica.id for replica in plan(deployment(replicas), made).terminate] == expected


def test_a_stopped_deployment_ends_everything() -> None:
    made = [Replica(id="r0", deployment_id="d", ordinal=0, generation=1, state=ReplicaState.READY)]
    stopped = replace(deployment(1), desired=DesiredState.STOPPED)
    assert plan(stopped, made).terminate == (made[0],)
    assert plan(stopped, [replace(made[0], state=ReplicaState.TERMINATING)]).terminate == ()

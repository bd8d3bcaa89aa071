"""A rollout in a world where anything may happen in any order: its budget holds at every step, and it always ends."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.service.domain import rollback
from orchestration.service.domain.rollout import plan
from orchestration.service.domain.status import DeploymentStatus, can_roll_back, deployment_status, gave_up
from orchestration.store.records import Deployment, DesiredState, Replica, ReplicaState

S = ReplicaState
DEADLINE_S = 60.0
STEPS_TO_SETTLE = 300


class World:
    """A deployment and its replicas. Checks each step that the controller takes."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.replicas: list[Replica] = []
        self.runs: dict[str, object] = {}
        """What each replica is made of."""
        self.moving: set[str] = set()
        self.now = 0.0
        self.met: Counter[str] = Counter()
        """How often something was reached."""
        base: dict[str, Any] = {
            "id": "d",
            "org_id": "",
            "owner_id": "",
            "pool_id": "p",
            "model_name": "m",
            "engine": "custom",
        }
        self.deployment = Deployment(**base, inference_model="", env={"v": "0"}, replicas=random.randint(0, 5))
        self.change_budget()

    # What callers do.

    def update(self) -> None:
        """Also back to what ran before, and to what runs now."""
        wanted = replace(self.deployment, env={"v": str(self.random.randint(0, 3))})
        if rollback.differs(wanted, rollback.template(self.deployment)):
            self._become(rollback.renewed(wanted))

    def go_back(self) -> None:
        """An update to what was last complete."""
        wanted = replace(self.deployment, **self.deployment.stable_template)  # type: ignore[arg-type]
        if rollback.differs(wanted, rollback.template(self.deployment)):
            self._become(rollback.renewed(wanted))

    def scale(self) -> None:
        self.deployment = replace(self.deployment, replicas=self.random.randint(0, 6))

    def change_budget(self) -> None:
        surge = self.random.randint(0, 3)
        unavailable = self.random.randint(0 if surge else 1, self.random.choice((1, 6)))
        self.deployment = replace(self.deployment, max_surge=surge, max_unavailable=unavailable)

    def terminate(self) -> None:
        self.deployment = replace(self.deployment, desired=DesiredState.STOPPED)

    def start(self) -> None:
        if self.deployment.desired is DesiredState.STOPPED and not self.replicas:
            self.deployment = replace(self.deployment, desired=DesiredState.RUNNING, complete_generation=0)

    # What nodes and engines do.

    def drain(self) -> None:
        self.moving |= {item.id for item in self._some()}

    def drain_no_more(self) -> None:
        self.moving.clear()

    def advance(self) -> None:
        for replica in self._some():
            self._advance(replica)

    def fail(self) -> None:
        """An attempt fails; now and then it was the last."""
        for replica in self._some():
            if replica.state in {S.PENDING, S.PROVISIONING, S.STARTING, S.READY, S.UNHEALTHY}:
                retry_at = self.random.choice((0.0, self.now + 1))
                self._set(replica, state=S.FAILED, retry_at=retry_at, reason="EXITED", message="it ended")

    def fall_ill(self) -> None:
        for replica in self._some():
            if replica.state is S.READY:
                self._set(replica, state=S.UNHEALTHY)

    def find_no_place(self) -> None:
        """No replica that is not placed yet finds a place for a while."""
        for replica in self.replicas:
            if replica.state is S.PENDING:
                self._set(replica, reason="NO_CAPACITY")
        self.now += self.random.uniform(0.0, 2 * DEADLINE_S)

    # What the controller does.

    def reconcile(self) -> None:
        before = len(self.replicas)
        why = rollback.failure(self.deployment, self.replicas, self.now, DEADLINE_S)
        if why is not None:
            self.met[why.reason] += 1
            assert self.deployment.desired is DesiredState.RUNNING
            self._become(rollback.rolled_back(self.deployment, why, self.now))
            assert not can_roll_back(self.deployment), "a rollback may be rolled back"
            assert self.deployment.env == self.deployment.stable_template["env"]
        step = plan(self.deployment, self.replicas, frozenset(self.moving))
        self._check_ended(step.terminate)
        ended = {replica.id for replica in step.terminate}
        kept = [replace(item, state=S.TERMINATING) if item.id in ended else item for item in self.replicas]
        self.replicas = [item for item in kept if item.state is not S.TERMINATING or item.instance_name]
        for ordinal in step.create:
            self._make(ordinal)
        self._check_created(len(step.create), before)
        self.deployment = rollback.noted(self.deployment, self.replicas)

    def _check_ended(self, ended: tuple[Replica, ...]) -> None:
        assert not [item for item in ended if item.state is S.TERMINATING], "what is being ended is ended again"
        wanted = self.deployment
        if wanted.desired is DesiredState.STOPPED:
            return
        serving = sum(item.state is S.READY for item in self.replicas)
        ready = [item for item in ended if item.state is S.READY]
        if ready:
            self.met["ready replica ended"] += 1
            least = wanted.replicas - wanted.max_unavailable
            assert serving - len(ready) >= least, "a ready replica is ended beyond the budget"
        good = [item for item in self.replicas if item.state is S.READY and self._is_good(item)]
        spare = max(0, len(good) - wanted.replicas)
        lost = [item for item in ready if self._is_good(item)]
        assert len(lost) <= spare, f"{lost} run what is wanted, and are ended for nothing"

    def _is_good(self, replica: Replica) -> bool:
        """Whether it runs what is wanted and known to be good, where it may stay."""
        stable = self.deployment.stable_template.get("env")
        return self.runs[replica.id] == self.deployment.env == stable and replica.id not in self.moving

    def _check_created(self, made: int, before: int) -> None:
        wanted = self.deployment
        assert not made or wanted.desired is DesiredState.RUNNING
        replaced = [one for one in self.replicas if one.generation != wanted.generation or one.id in self.moving]
        live = [item for item in self.replicas if item.state is not S.TERMINATING]
        if replaced:
            # What is being ended counts: it still holds its place.
            assert len(self.replicas) <= max(before, wanted.replicas + wanted.max_surge), "beyond the surge"
        elif made:
            assert len(live) <= wanted.replicas, "more than are wanted"
        ordinals = Counter((one.generation, one.ordinal) for one in live)
        assert max(ordinals.values(), default=1) == 1, "two replicas of one generation have the same ordinal"

    def settle(self) -> None:
        """As long as nothing more goes wrong, what is wanted comes true."""
        for turn in range(STEPS_TO_SETTLE):
            self.now += 1.0
            self.reconcile()
            if self._is_settled():
                return
            unsettled = [item for item in self.replicas if item.state is not S.READY and not gave_up(item)]
            if unsettled:
                self._advance(unsettled[turn % len(unsettled)])
        raise AssertionError(f"{deployment_status(self.deployment, self.replicas)} for ever: {self.replicas}")

    def _is_settled(self) -> bool:
        step = plan(self.deployment, self.replicas, frozenset(self.moving))
        if step.create or step.terminate or any(item.state is S.TERMINATING for item in self.replicas):
            return False
        status = deployment_status(self.deployment, self.replicas)
        if self.deployment.desired is DesiredState.STOPPED:
            return status is DeploymentStatus.STOPPED
        if any(gave_up(item) for item in self.replicas):
            # Nothing to go back to: what is left stays, and the budget holds the rest.
            assert not can_roll_back(self.deployment)
            return all(item.state is S.READY or gave_up(item) for item in self.replicas)
        here = [item for item in self.replicas if item.id not in self.moving]
        return status is DeploymentStatus.RUNNING and len(here) == len(self.replicas) == self.deployment.replicas

    def _become(self, wanted: Deployment) -> None:
        taken = {item.id: item for item in rollback.taken_over(self.deployment, wanted, self.replicas)}
        self.met["replica taken over"] += len(taken)
        self.replicas = [taken.get(item.id, item) for item in self.replicas]
        self.deployment = wanted

    def _make(self, ordinal: int) -> None:
        name, generation = f"r{len(self.runs)}", self.deployment.generation
        self.runs[name] = self.deployment.env
        made = Replica(id=name, deployment_id="d", ordinal=ordinal, generation=generation, created_at=self.now)
        self.replicas.append(made)

    def _some(self) -> list[Replica]:
        return self.random.sample(self.replicas, min(len(self.replicas), self.random.choice((1, 1, 2, 6))))

    def _set(self, replica: Replica, **fields: Any) -> None:
        self.replicas[self.replicas.index(replica)] = replace(replica, **fields)

    def _advance(self, replica: Replica) -> None:
        wanted = replica.generation == self.deployment.generation  # a controller starts no older one
        name = f"{replica.id}-{replica.attempt + 1}"
        placed: dict[str, Any] = {"state": S.PROVISIONING, "instance_name": name, "attempt": replica.attempt + 1}
        match replica.state:
            case S.TERMINATING:
                self.replicas.remove(replica)
            case S.FAILED if replica.instance_name:
                self._set(replica, instance_name="")
            case S.FAILED if wanted and not gave_up(replica):
                self._set(replica, **placed, reason="", retry_at=0.0)
            case S.PENDING if wanted:
                self._set(replica, **placed, reason="")
            case S.PROVISIONING if wanted:
                self._set(replica, state=S.STARTING)
            case S.STARTING | S.UNHEALTHY:
                self._set(replica, state=S.READY)
            case _:
                pass


HAPPENS = {
    World.advance: 40,
    World.update: 4,
    World.go_back: 2,
    World.scale: 2,
    World.change_budget: 1,
    World.terminate: 0.3,
    World.start: 3,
    World.drain: 1,
    World.drain_no_more: 1,
    World.fail: 2,
    World.fall_ill: 2,
    World.find_no_place: 4,
    World.settle: 1,
}
"""What may happen, and how often each beside the others."""


def walk(seed: int, steps: int) -> World:
    """Let `steps` things happen; the controller answers most of them at once, and some only later."""
    random = Random(seed)
    world = World(random)
    for happens in random.choices(list(HAPPENS), list(HAPPENS.values()), k=steps):
        happens(world)
        if random.random() < 0.8:
            world.reconcile()
    world.settle()
    return world


@given(seed=st.integers(0, 2**64), steps=st.integers(0, 300))
@settings(max_examples=200, deadline=None)
def test_the_budget_holds_at_every_step_and_what_is_wanted_comes_true(seed: int, steps: int) -> None:
    walk(seed, steps)


def test_the_walk_reaches_what_it_is_to_check() -> None:
    met = sum((walk(seed, 300).met for seed in range(20)), Counter[str]())
    for what in ("EXITED", "PROGRESS_DEADLINE_EXCEEDED", "ready replica ended", "replica taken over"):
        assert met[what] >= 10, met

"""A rollout in a world where anything may happen in any order: its budget holds at every step, and it always ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestration.service.domain import rollback
from orchestration.service.domain.rollout import plan
from orchestration.service.domain.status import DeploymentStatus, can_roll_back, deployment_status, gave_up, is_complete
from orchestration.store.records import Deployment, DesiredState, Replica, ReplicaState

S = ReplicaState
PICK = st.integers(0, 1000)
STEPS_TO_SETTLE = 300


class RolloutMachine(RuleBasedStateMachine):
    """A deployment and its replicas; rules are what callers, engines and nodes do, and the controller's own step."""

    def __init__(self) -> None:
        super().__init__()
        self.replicas: list[Replica] = []
        self.runs: dict[str, object] = {}
        """What each replica is made of."""
        self.moving: set[str] = set()
        self.now = 0.0
        self.made = 0

    @initialize(count=st.integers(0, 5), surge=st.integers(0, 3), unavailable=st.integers(0, 6))
    def accept(self, count: int, surge: int, unavailable: int) -> None:
        self.deployment = Deployment(
            id="d",
            org_id="",
            owner_id="",
            pool_id="p",
            model_name="m",
            engine="custom",
            inference_model="",
            env={"v": "0"},
            replicas=count,
            max_surge=surge,
            max_unavailable=unavailable if surge else max(1, unavailable),
        )

    # What callers do.

    @rule(version=st.integers(0, 3))
    def update(self, version: int) -> None:
        """Also back to what ran before, and to what runs now."""
        wanted = replace(self.deployment, env={"v": str(version)})
        if rollback.differs(wanted, rollback.template(self.deployment)):
            wanted = rollback.renewed(wanted)
        self._become(wanted)

    @precondition(lambda self: self.deployment.stable_template)
    @rule()
    def go_back(self) -> None:
        """An update to what was last complete."""
        wanted = replace(self.deployment, **self.deployment.stable_template)
        if rollback.differs(wanted, rollback.template(self.deployment)):
            wanted = rollback.renewed(wanted)
        self._become(wanted)

    @rule(count=st.integers(0, 6))
    def scale(self, count: int) -> None:
        self.deployment = replace(self.deployment, replicas=count)

    @rule(surge=st.integers(0, 3), unavailable=st.integers(0, 6))
    def change_budget(self, surge: int, unavailable: int) -> None:
        unavailable = unavailable if surge else max(1, unavailable)
        self.deployment = replace(self.deployment, max_surge=surge, max_unavailable=unavailable)

    @rule()
    def terminate(self) -> None:
        self.deployment = replace(self.deployment, desired=DesiredState.STOPPED)

    @precondition(lambda self: self.deployment.desired is DesiredState.STOPPED and not self.replicas)
    @rule()
    def start(self) -> None:
        self.deployment = replace(self.deployment, desired=DesiredState.RUNNING, complete_generation=0)

    # What nodes and engines do.

    @precondition(lambda self: self.replicas)
    @rule(pick=PICK)
    def drain(self, pick: int) -> None:
        self.moving.add(self._pick(pick).id)

    @precondition(lambda self: self.moving)
    @rule()
    def drain_no_more(self) -> None:
        self.moving.clear()

    @precondition(lambda self: self.replicas)
    @rule(pick=PICK)
    def advance(self, pick: int) -> None:
        """One replica goes on as it should."""
        self._advance(self._pick(pick))

    @rule(pick=PICK, times=st.integers(1, 30))
    def go_on(self, pick: int, times: int) -> None:
        """All goes well for a while, only not to the end."""
        for turn in range(times):
            self.reconcile()
            if self.replicas:
                self._advance(self._pick(pick + turn))

    @precondition(lambda self: self.replicas)
    @rule(pick=PICK, for_good=st.booleans(), newest=st.booleans())
    def fail(self, pick: int, for_good: bool, newest: bool) -> None:
        replica = max(self.replicas, key=lambda item: item.created_at) if newest else self._pick(pick)
        if replica.state in {S.PROVISIONING, S.STARTING, S.READY, S.UNHEALTHY}:
            retry_at = 0.0 if for_good else self.now + 1
            self._set(replica, state=S.FAILED, retry_at=retry_at, reason="EXITED", message="it ended")

    @precondition(lambda self: self.replicas)
    @rule(pick=PICK)
    def fall_ill(self, pick: int) -> None:
        if self._pick(pick).state is S.READY:
            self._set(self._pick(pick), state=S.UNHEALTHY)

    @precondition(lambda self: self.replicas)
    @rule(pick=PICK)
    def find_no_place(self, pick: int) -> None:
        if self._pick(pick).state is S.PENDING:
            self._set(self._pick(pick), reason="NO_CAPACITY")

    @rule()
    def wait(self) -> None:
        self.now += 20.0

    # What the controller does.

    @rule()
    def reconcile(self) -> None:
        before = len(self.replicas)
        why = rollback.failure(self.deployment, self.replicas, self.now, 60.0)
        if why is not None:
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
        if is_complete(self.deployment, self.replicas):
            self.deployment = replace(self.deployment, complete_generation=self.deployment.generation)
            if any(item.state is S.READY for item in self.replicas):
                self.deployment = rollback.proven(self.deployment)

    def _check_ended(self, ended: tuple[Replica, ...]) -> None:
        assert not [item for item in ended if item.state is S.TERMINATING], "what is being ended is ended again"
        wanted = self.deployment
        if wanted.desired is DesiredState.STOPPED:
            return
        serving = sum(item.state is S.READY for item in self.replicas)
        ready = [item for item in ended if item.state is S.READY]
        if ready:
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
        live = [item for item in self.replicas if item.state is not S.TERMINATING]
        replaced = [one for one in self.replicas if one.generation != wanted.generation or one.id in self.moving]
        assert len(self.replicas) <= max(before, wanted.replicas + (wanted.max_surge if replaced else before))
        if made:
            assert len(live) <= wanted.replicas + (wanted.max_surge if replaced else 0), "beyond the surge"

    @invariant()
    def ordinals_are_unique(self) -> None:
        live = [(one.generation, one.ordinal) for one in self.replicas if one.state is not S.TERMINATING]
        assert len(live) == len(set(live))

    @rule()
    def settle(self) -> None:
        """As long as nothing more goes wrong, what is wanted comes true."""
        for turn in range(STEPS_TO_SETTLE):
            self.now += 1.0
            self.reconcile()
            if self._is_settled():
                break
            unsettled = [item for item in self.replicas if item.state is not S.READY and not gave_up(item)]
            if unsettled:
                self._advance(unsettled[turn % len(unsettled)])
        assert self._is_settled(), (deployment_status(self.deployment, self.replicas), self.replicas)

    def _is_settled(self) -> bool:
        step = plan(self.deployment, self.replicas, frozenset(self.moving))
        if step.create or step.terminate or any(item.state is S.TERMINATING for item in self.replicas):
            return False
        status = deployment_status(self.deployment, self.replicas)
        if self.deployment.desired is DesiredState.STOPPED:
            return status is DeploymentStatus.STOPPED
        lost = [item for item in self.replicas if gave_up(item)]
        if lost:
            # Nothing to go back to: what is left of it stays, and the budget holds the rest.
            assert not can_roll_back(self.deployment)
            return all(item.state is S.READY or gave_up(item) for item in self.replicas)
        here = [item for item in self.replicas if item.id not in self.moving]
        return status is DeploymentStatus.RUNNING and len(here) == len(self.replicas) == self.deployment.replicas

    def _become(self, wanted: Deployment) -> None:
        taken = {item.id: item for item in rollback.taken_over(self.deployment, wanted, self.replicas)}
        self.replicas = [taken.get(item.id, item) for item in self.replicas]
        self.deployment = wanted

    def _make(self, ordinal: int) -> None:
        self.made += 1
        made = Replica(
            id=f"r{self.made}",
            deployment_id="d",
            ordinal=ordinal,
            generation=self.deployment.generation,
            created_at=self.now + self.made / 1000,
        )
        self.replicas.append(made)
        self.runs[made.id] = self.deployment.env

    def _pick(self, pick: int) -> Replica:
        return self.replicas[pick % len(self.replicas)]

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


TestRollout = RolloutMachine.TestCase
TestRollout.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)

"""A state machine that asks for anything in any order, breaks anything at any moment, and holds what must be.

Hypothesis chooses the steps, and makes what fails as short as it can. Everything that the API allows is asked for, one
call at a time and several at once; the control plane is killed between two calls and in the middle of them.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from orchestration.store.records import Deployment, Node, NodeState, Replica, ReplicaState
from tests.chaos.child import KilledError
from tests.chaos.model import IllegalError, Model, broken_promises
from tests.chaos.plane import FULL, Dump
from tests.chaos.skipping import real_monotonic
from tests.chaos.world import NODE_GPUS, NODES, OFFERS, PLACINGS, POOLS, PRICE_CAP, Placing, World

_SLOW = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much, hypothesis.HealthCheck.data_too_large]
_AT_ONCE = 20
"""Examples from one seed."""
_MOST = 3
"""Deployments of one example."""
_REFUSALS = {"INVALID_STATUS", "POOL_CAPACITY_EXCEEDED", "DEPLOYMENT_NOT_FOUND"}
"""What a change of a deployment may be refused for."""
_FAILS = {"CLOUD_EXIT_S": "0.2", "CLOUD_READY_S": "9", "CLOUD_LINES": "3"}
_KINDS = ("ScaleDeployment", "UpdateDeployment", "DeleteDeployment", "StartDeployment", "PurgeDeployment")
_FAULTS = {
    "create": ("fail_before", "fail_after", "cut", "lag", "capacity", "late"),
    "describe": ("fail_before", "cut", "lag"),
    "delete": ("fail_before", "fail_after", "cut", "lag", "late"),
    "list": ("fail_before", "lag"),
    "logs": ("fail_before", "cut"),
}

changes = st.sampled_from(_KINDS)
counts = st.integers(0, 3)
values = st.sampled_from(["1", "2", "bad"])
faults = st.sampled_from([(method, fault) for method, kinds in _FAULTS.items() for fault in kinds])


Rule = Callable[..., None]


def noted(step: Rule) -> Rule:
    """Remember that a step failed: what is left then is of no use any more."""

    @functools.wraps(step)
    def wrapped(self: ControlPlane, *args: Any, **kwargs: Any) -> None:
        try:
            if not self.over:
                step(self, *args, **kwargs)
        except Exception:
            self.failed = True
            raise

    return wrapped


class Tally:
    """What all examples together did."""

    def __init__(self, ends: float = math.inf) -> None:
        self.ends = ends
        """When the time is over; what is chosen then is not done."""
        self.examples = 0
        self.kills = 0
        self.accepts = 0
        self.calls = 0


class ControlPlane(RuleBasedStateMachine):
    """One example is one world."""

    templates: ClassVar[Mapping[str, World]]
    root: ClassVar[Path]
    tally: ClassVar[Tally] = Tally()

    def __init__(self) -> None:
        super().__init__()
        self.over = real_monotonic() > self.tally.ends
        self.failed = True  # until there is a world

    @initialize(placing=st.sampled_from(PLACINGS))
    def begin(self, placing: Placing) -> None:
        """One example is one world."""
        if self.over:
            return
        number = self.tally.examples = self.tally.examples + 1
        self.folder = self.root / f"example-{number}"
        self.world = self.templates[placing.name].copy(f"example-{number}", self.folder)
        self.world.start()
        self.failed = False

    # What is asked for. Whether a step can be made depends on how the kills fall, so each may turn out to do nothing:
    # the choices must not depend on it.

    def keys(self) -> list[str]:
        """Deployments that were not purged."""
        return [key for key, promise in self.world.model.promises.items() if not promise.purged]

    def some(self, number: int) -> str | None:
        """One of them."""
        keys = self.keys()
        return keys[number % len(keys)] if keys else None

    @rule(replicas=counts, surge=st.booleans(), spare=st.booleans(), fails=st.booleans(), callers=st.integers(1, 3))
    @noted
    def deploy(self, replicas: int, surge: bool, spare: bool, fails: bool, callers: int) -> None:
        """A new deployment, asked for by several callers with the same request id."""
        key = f"d{len(self.world.model.promises)}"
        if len(self.world.model.promises) == _MOST:
            return
        fields: dict[str, Any] = {"replicas": replicas, "env": {"V": "1", "CLOUD_LINES": "4"}}
        fields["restart_policy"] = {"max_attempts": 2 if fails else 50}
        if fails:
            fields["env"] = {"V": "1", **_FAILS}
        if surge:
            fields["update_strategy"] = {"max_surge": 1, "max_unavailable": 0}
        if spare:
            fields["fallback_pool_ids"] = ["spare"]
        body = self.world.body("DeployModel", key, fields, self.world.request_id())
        answers = self.ask([("DeployModel", key, body)] * callers)
        assert len({answer["deployment_id"] for answer in answers}) == 1, f"one request id, several: {answers}"

    @rule(number=st.integers(0, _MOST), method=changes, replicas=counts, value=values)
    @noted
    def change(self, number: int, method: str, replicas: int, value: str) -> None:
        """One change."""
        key = self.some(number)
        if key is not None:
            self.ask([self.wanted(method, key, replicas, value)])

    @rule(number=st.integers(0, _MOST), many=st.lists(st.tuples(changes, counts, values), min_size=2, max_size=4))
    @noted
    def change_at_once(self, number: int, many: list[tuple[str, int, str]]) -> None:
        """Several changes of one deployment at the same time."""
        key = self.some(number)
        if key is not None:
            self.ask([self.wanted(method, key, replicas, value) for method, replicas, value in many])

    @rule(number=st.integers(0, _MOST))
    @noted
    def race_for_an_etag(self, number: int) -> None:
        """Two who read the same: the second is told."""
        key = self.some(number)
        if key is None:
            return
        told = self.call(lambda: self.world.child.call("call", "GetDeployment", self.named(key)))
        now = self.world.model.promises[key].replicas
        wanted = [self.wanted("ScaleDeployment", key, count, "") for count in range(4) if count != now][:2]
        for _, _, body in wanted:
            body["etag"] = told["etag"]
        before = self.world.kills
        answers = self.ask(wanted, refusals={"ETAG_MISMATCH", *_REFUSALS})
        won = sum("error" not in answer for answer in answers)
        assert won <= 1, f"both won: {answers}"
        if not won and self.world.kills == before:
            reasons = {answer["reason"] for answer in answers}
            assert reasons & _REFUSALS, f"nobody won, and nothing was in the way: {answers}"

    def named(self, key: str) -> dict[str, Any]:
        """A request's field that names the deployment."""
        return {"deployment_id": self.world.model.promises[key].deployment_id}

    def wanted(self, method: str, key: str, replicas: int, value: str) -> tuple[str, str, dict[str, Any]]:
        """A change with all that it needs."""
        fields: dict[str, Any] = {}
        if method == "ScaleDeployment":
            fields = {"replicas": replicas}
        elif method == "UpdateDeployment":
            bad = value == "bad"
            fields = {"env": {"V": value, **(_FAILS if bad else {})}}
            fields["restart_policy"] = {"max_attempts": 2 if bad else 50}
        return method, key, self.world.body(method, key, fields, self.world.request_id())

    def ask(
        self, wanted: Sequence[tuple[str, str, Mapping[str, Any]]], refusals: set[str] = _REFUSALS
    ) -> list[dict[str, Any]]:
        """Ask for all at once, and again after a kill; remember what was answered, in an order that can be."""
        world = self.world
        self.tally.calls += len(wanted)
        requests = [(method, body) for method, _, body in wanted]
        try:
            answers: list[dict[str, Any]] = world.child.call("calls", requests)
        except KilledError:
            world.kills += 1
            world.start()
            self.must_be(self.dump(), [*orders(world.model, [(*item, None) for item in wanted])])
            answers = world.child.call("calls", requests)
        for answer in answers:
            assert "error" not in answer or answer["reason"] in refusals, f"{wanted} was refused: {answer}"
        known = [(*item, answer) for item, answer in zip(wanted, answers, strict=True)]
        done = [item for item in known if "error" not in item[3]]
        world.accepts += len(done)
        # The same request twice is one; and what is answered twice was done once.
        once = list({item[2]["request_id"]: item for item in done}.values())
        world.model = self.must_be(self.dump(), [*orders(world.model, once, all_of_them=True)])
        for method, key, body, _ in once:
            if method in {"DeployModel", "ScaleDeployment", "UpdateDeployment"}:
                world.note_wanted(key, body)
        return answers

    def must_be(self, dump: Dump, models: Sequence[Model]) -> Model:
        """The first model that the disk agrees with."""
        broken = [broken_promises(model, dump) for model in models]
        for model, found in zip(models, broken, strict=True):
            if not found:
                return model
        raise AssertionError(f"no order of what was answered leads to what is there: {broken}")

    # What goes wrong.

    def call(self, work: Callable[[], Any]) -> Any:
        """Do something that a kill may interrupt; it is done again then."""
        try:
            return work()
        except KilledError:
            self.world.kills += 1
            self.world.start()
            return work()

    def dump(self) -> Dump:
        """Everything that is on the disk."""
        dump: Dump = self.call(lambda: self.world.child.call("dump"))
        return dump

    @rule()
    @noted
    def kill(self) -> None:
        """The control plane dies between two calls."""
        self.world.kill()
        self.world.start()

    @rule(point=st.integers(1, 250))
    @noted
    def kill_soon(self, point: int) -> None:
        """It dies in the middle of what comes next."""
        try:
            self.world.child.call("arm", point)
        except KilledError:  # as soon as that
            self.world.kills += 1
            self.world.start()

    @rule(seconds=st.sampled_from([0.02, 0.1, 0.5, 3.0, 12.0]))
    @noted
    def let_pass(self, seconds: float) -> None:
        """Time passes."""
        self.call(lambda: self.world.child.call("let_pass", seconds))

    @rule(planned=st.lists(faults, min_size=1, max_size=4))
    @noted
    def cloud_fails(self, planned: list[tuple[str, str]]) -> None:
        """Some of the next calls to the cloud go wrong."""
        self.world.cloud.change(self.world.account, planned=planned)

    @rule(which=st.integers(0, 2))
    @noted
    def node_dies(self, which: int) -> None:
        """A node is lost, but never the last of a pool."""
        node = f"main-{which}"
        if {node, "main-0", "main-1"} <= self.world.agents:
            self.call(lambda: self.world.lose(node))

    @rule(available=st.sampled_from([0, 1, 1000]), pool=st.sampled_from(POOLS))
    @noted
    def capacity_changes(self, available: int, pool: str) -> None:
        """The market has nothing left, or something again."""
        if self.world.placing is OFFERS:
            self.world.offer(pool, available)

    @rule(lag_s=st.sampled_from([0.0, 1.0, 6.0]))
    @noted
    def lists_lag(self, lag_s: float) -> None:
        """The cloud's list is of a while ago."""
        self.world.cloud.change(self.world.account, list_lag_s=lag_s)

    @rule(which=st.integers(1, 7), how=st.sampled_from(["kill", "sicken"]))
    @noted
    def instances_fail(self, which: int, how: str) -> None:
        """Some instances die, or no longer answer."""
        names = [item["name"] for item in self.world.cloud.look(self.world.account)["instances"]]
        chosen = [name for number, name in enumerate(names) if which >> (number % 3) & 1]
        self.world.cloud.change(self.world.account, **{how: chosen})

    # What must hold.

    @rule()
    @noted
    def rest(self) -> None:
        """Nothing is broken for a while: all becomes as it was promised."""
        self.world.cloud.change(self.world.account, list_lag_s=0.0)
        self.call(lambda: self.world.child.call("disarm"))
        self.world.settle(allowed=())
        dump = self.world.check()
        if waiting_in_vain(self.world, dump):
            # Nothing tells when there is room again, so that it is looked for: every 15 s, and by full passes.
            self.world.child.call("let_pass", 45.0)
            self.world.settle(allowed=())
            dump = self.world.check()
        assert not self.world.findings.all(), self.world.findings.all()
        vain = waiting_in_vain(self.world, dump)
        assert not vain, vain

    def teardown(self) -> None:
        """Every example ends at rest."""
        if not hasattr(self, "world"):
            return
        try:
            if not self.failed:
                self.rest()
        finally:
            self.tally.kills += self.world.kills
            self.tally.accepts += self.world.accepts
            self.world.end()
        shutil.rmtree(self.folder)


Asked = tuple[str, str, Mapping[str, Any], Mapping[str, Any] | None]


def orders(model: Model, asked: Sequence[Asked], *, all_of_them: bool = False) -> Iterator[Model]:
    """The models after the changes were made in any order; unless `all_of_them`, also after some of them only."""
    once = list({body["request_id"]: (method, key, body, answer) for method, key, body, answer in asked}.values())
    for count in range(len(once) if all_of_them else 0, len(once) + 1):
        for chosen in itertools.permutations(once, count):
            after = model
            with contextlib.suppress(IllegalError):
                for method, key, body, answer in chosen:
                    after = after.after(method, key, body, answer)
                yield after


def waiting_in_vain(world: World, dump: Dump) -> list[str]:
    """The replicas that wait for room although there is some."""
    replicas: Sequence[Replica] = dump.records[Replica.kind]
    deployments: dict[str, Deployment] = {item.id: item for item in dump.deployments()}
    found: list[str] = []
    for replica in replicas:
        if replica.state is ReplicaState.PENDING and replica.reason in FULL:
            deployment = deployments[replica.deployment_id]
            pools = (deployment.pool_id, *deployment.fallback_pool_ids)
            roomy = [pool_id for pool_id in pools if _has_room(world, dump, pool_id)]
            found += [f"{replica} waits, and there is room in {roomy}"] if roomy else []
    return found


def _has_room(world: World, dump: Dump, pool_id: str) -> bool:
    inside = [item for item in dump.records[Replica.kind] if item.instance_name and item.pool_id == pool_id]
    if sum(item.price_per_hour for item in inside) + 1.0 > PRICE_CAP:
        return False
    if world.placing is OFFERS:
        return world.available[next(name for name, id_ in world.pools.items() if id_ == pool_id)] > len(inside)
    if world.placing is NODES:
        nodes = [item for item in dump.records[Node.kind] if item.pool_id == pool_id and item.state == NodeState.READY]
        return any(sum(item.node_id == node.id for item in inside) < NODE_GPUS for node in nodes)
    return True


def run(
    templates: Mapping[str, World],
    root: Path,
    *,
    seed: int,
    examples: int,
    ends: float = math.inf,
    steps: int = 25,
) -> Tally:
    """Run so many examples, fewer when `real_monotonic` is at `ends`.

    Raises what was found, after it was made short and printed.
    """
    tally = Tally(ends)
    ControlPlane.templates, ControlPlane.root, ControlPlane.tally = templates, root, tally
    while tally.examples < examples and real_monotonic() < ends:
        settings = hypothesis.settings(
            max_examples=min(_AT_ONCE, examples - tally.examples),
            stateful_step_count=steps,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=_SLOW,
        )
        under_test = type("ControlPlaneUnderTest", (ControlPlane,), {})
        run_state_machine_as_test(hypothesis.seed(seed + tally.examples)(under_test), settings=settings)
    return tally

"""A scenario played once: killed at a point, recovered, held against what must be, and played to its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.child import ChildError, KilledError
from tests.chaos.scenarios import Ask, CloudDoes, LoseNode, Pass, Scenario, Settle, Step
from tests.chaos.world import World


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    scenario: str
    kill_at: int | None
    second_kill_at: int | None = None
    seed: int = 0
    kills: int = 0
    accepts: int = 0
    recovery_s: float = 0.0
    reached: int = 0
    findings: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    folder: str = ""
    """Kept when something was found."""

    def wrong(self) -> list[str]:
        """Everything that was found."""
        return [f"{kind}: {text}" for kind, texts in self.findings.items() for text in texts]


class RefusedError(Exception):
    """A step was refused, so that those after it make no sense."""


class Play:
    """One play."""

    def __init__(self, world: World, scenario: Scenario, seed: int) -> None:
        self._world = world
        self._scenario = scenario
        self._seed = seed
        self.recovery_s = 0.0
        self.reached = 0

    def run(self, kill_at: int | None, second_kill_at: int | None) -> None:
        """Play to the end, whatever is killed on the way."""
        world = self._world
        world.start()
        if self._scenario.rates:
            world.cloud.change(world.account, rates=self._scenario.rates, seed=self._seed, list_lag_s=2.0)
        try:
            world.child.call("arm", kill_at)
        except KilledError:  # at its very first point
            world.kills += 1
            self._recover(Pass(0.0), "", second_kill_at)
        steps = list(self._scenario.steps)
        while steps:
            request_id = world.request_id()
            try:
                self._step(steps[0], request_id)
            except KilledError:
                world.kills += 1
                self._recover(steps[0], request_id, second_kill_at)
                second_kill_at = None
                if isinstance(steps[0], Ask):
                    self._step(steps[0], request_id)  # the caller, who had no answer, asks again
            steps.pop(0)
        try:
            self.reached = world.child.call("disarm")
        except KilledError:
            world.kills += 1
            self._recover(Pass(0.0), "", second_kill_at)
        self._end()

    def _step(self, step: Step, request_id: str) -> None:
        world = self._world
        match step:
            case Ask(method, key, fields):
                answer = world.mutate(method, key, fields, request_id)
                if "error" in answer:
                    raise RefusedError(f"{method} of {key} was refused: {answer}")
            case Settle(allowed):
                world.settle(allowed=allowed)
            case Pass(seconds):
                world.child.call("let_pass", seconds)
            case LoseNode(node):
                world.lose(node)
            case CloudDoes(change):
                running = [item["name"] for item in world.cloud.look(world.account)["instances"]]
                given = {name: running if value == "$instances" else value for name, value in change.items()}
                world.cloud.change(world.account, **given)

    def _recover(self, step: Step, request_id: str, kill_at: int | None) -> None:
        """Start again, and hold that all is well before anybody asks for anything: within one pass."""
        world = self._world
        if kill_at is not None:
            try:
                world.start(kill_at)
                world.child.call("settle", self._scenario.recovery_s, ())
            except KilledError:
                world.kills += 1
            else:
                world.kill()
        world.start()
        self.recovery_s = world.settle()
        most = self._scenario.recovery_s
        if self.recovery_s > most and not self._scenario.rates:
            world.findings.other.append(f"it took {self.recovery_s:.0f} s after the restart, over {most:.0f} s")
        maybe = []
        if isinstance(step, Ask):
            body = world.body(step.method, step.key, step.fields, request_id)
            world.note_wanted(step.key, body)
            maybe = [world.model.after(step.method, step.key, body, None)]
        world.check(*maybe)

    def _end(self) -> None:
        """All was asked for: what is there in the end is held against it."""
        world = self._world
        world.cloud.change(world.account, rates={}, list_lag_s=0.0)
        world.settle()
        if self._scenario.rates:
            world.child.call("let_pass", 30.0)  # what comes late has come, and was reaped
            world.settle()
        world.check()
        world.stop()


def play(
    templates: Mapping[str, World],
    scenario: Scenario,
    account: str,
    folder: Path,
    *,
    seed: int,
    kill_at: int | None,
    second_kill_at: int | None = None,
) -> Outcome:
    """Play a scenario in a copy of a world that is at rest."""
    world = templates[scenario.placing.name].copy(account, folder)
    outcome = Outcome(scenario=scenario.name, kill_at=kill_at, second_kill_at=second_kill_at, seed=seed)
    acting = Play(world, scenario, seed)
    try:
        acting.run(kill_at, second_kill_at)
    except (ChildError, RefusedError) as error:
        world.findings.other.append(str(error))
    except KilledError:
        world.findings.other.append("the process died where it was not told to")
    finally:
        world.end()
    outcome.kills, outcome.accepts = world.kills, world.accepts
    outcome.recovery_s, outcome.reached = acting.recovery_s, acting.reached
    outcome.findings = {name: getattr(world.findings, name) for name in type(world.findings).__slots__}
    outcome.folder = str(folder)
    return outcome


def trace(
    templates: Mapping[str, World], scenario: Scenario, account: str, folder: Path, *, seed: int
) -> Sequence[tuple[str, str]]:
    """The points that a scenario reaches when nothing is killed."""
    world = templates[scenario.placing.name].copy(account, folder, trace=True)
    acting = Play(world, scenario, seed)
    told: list[tuple[str, str]] = []

    def finish() -> None:
        told.extend(world.child.call("trace"))

    acting._end = finish  # type: ignore[method-assign]
    acting.run(None, None)
    assert not world.findings.all(), world.findings.all()
    assert told, "nothing was reached"
    world.end()
    return told

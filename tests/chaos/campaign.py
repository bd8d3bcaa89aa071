"""Every scenario, killed at every point that it reaches, as many as the time allows."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.playing import Outcome, play, trace
from tests.chaos.points import effects
from tests.chaos.scenarios import Scenario
from tests.chaos.skipping import real_monotonic
from tests.chaos.world import PLACINGS, World
from tests.support.cloud.process import CloudProcess

Trace = Sequence[tuple[str, str]]
SECOND_KILL = 0.25
"""How often the process that recovers is killed as well."""
_SECOND_KILL_POINTS = 400


@dataclass(frozen=True, slots=True)
class Target:
    """One kill to be made."""

    scenario: Scenario
    point: int
    second: int | None
    seed: int
    number: int


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of one scenario."""

    scenario: str
    points: int = 0
    """Reached when nothing is killed."""
    places: int = 0
    """Different ones among them."""
    states: int = 0
    """Different things that a kill leaves behind: what there is between one lasting effect and the next."""
    plays: int = 0
    kills: int = 0
    killed_places: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    killed_states: set[object] = field(default_factory=set[object])
    accepts: int = 0
    lost: int = 0
    doubled: int = 0
    orphaned: int = 0
    other: int = 0
    slowest_recovery_s: float = 0.0

    def add(self, outcome: Outcome, place: tuple[str, str], state: object) -> None:
        """Count a play."""
        self.plays += 1
        self.kills += outcome.kills
        self.accepts += outcome.accepts
        if outcome.kills:
            self.killed_places.add(place)
            self.killed_states.add(state)
        for name in ("lost", "doubled", "orphaned", "other"):
            setattr(self, name, getattr(self, name) + bool(outcome.findings.get(name)))
        self.slowest_recovery_s = max(self.slowest_recovery_s, outcome.recovery_s)

    def join(self, other: Tally, *, sum_points: bool = False) -> None:
        """Add what another process did of the same scenario; or of another one, whose points are other points."""
        for name in ("plays", "kills", "accepts", "lost", "doubled", "orphaned", "other"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest_recovery_s = max(self.slowest_recovery_s, other.slowest_recovery_s)
        prefix = f"{other.scenario}: " if sum_points else ""
        self.killed_places |= {(prefix + kind, where) for kind, where in other.killed_places}
        self.killed_states |= {(prefix, state) for state in other.killed_states} if prefix else other.killed_states
        if sum_points:
            self.points += other.points
            self.places += other.places
            self.states += other.states


def traces(
    root: Path, scenarios: Sequence[Scenario], seed: int, share: tuple[int, int]
) -> dict[str, list[tuple[str, str]]]:
    """The points that this process's share of the scenarios reaches when nothing is killed, by name."""
    which, of = share
    with CloudProcess() as cloud:
        templates = make_templates(cloud, root)
        found: dict[str, list[tuple[str, str]]] = {}
        for number, item in enumerate(scenarios[which::of]):
            account = f"trace-{number}"
            found[item.name] = list(trace(templates, item, account, root / account, seed=seed))
        return found


def make_templates(cloud: CloudProcess, root: Path) -> dict[str, World]:
    """A world at rest for each way of placing, by its name."""
    templates: dict[str, World] = {}
    for placing in PLACINGS:
        name = f"template-{placing.name}"
        templates[placing.name] = World.make(cloud, name, root / name, placing=placing)
        templates[placing.name].stop()
    return templates


@dataclass(slots=True)
class Campaign:
    """All plays of one process, one after the other."""

    seed: int
    root: Path
    traces: Mapping[str, Trace]
    distinct: bool = False
    """Whether to leave out points whose place and whose state were killed at."""
    tallies: dict[str, Tally] = field(default_factory=dict[str, Tally])
    wrong: list[Outcome] = field(default_factory=list[Outcome])
    left: int = 0
    """Points for which the time did not suffice."""

    def run(
        self,
        scenarios: Sequence[Scenario],
        *,
        ends: float,
        most: int | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Play until every point was killed at, `real_monotonic` is at `ends`, or `most` plays were made.

        ``share``: of how many processes this is which; each takes its part of the targets.
        """
        for name, told in self.traces.items():
            states = len(set(effects(told)))
            self.tallies[name] = Tally(scenario=name, points=len(told), places=len(set(told)), states=states)
        which, of = share
        targets = list(self._targets(scenarios))[which::of]
        with CloudProcess() as cloud:
            templates = make_templates(cloud, self.root)
            for done, target in enumerate(targets):
                if real_monotonic() > ends or (most is not None and done >= most):
                    self.left = len(targets) - done
                    return
                self._play(templates, target)

    def _targets(self, scenarios: Sequence[Scenario]) -> Iterator[Target]:
        """Every point of every scenario, the most telling first, of the scenarios in turns."""
        drawn = random.Random(self.seed)
        orders = {item.name: _telling_first(self.traces[item.name], drawn, self.distinct) for item in scenarios}
        turn = 0
        while any(orders.values()):
            for item in scenarios:
                if orders[item.name]:
                    second = drawn.randint(1, _SECOND_KILL_POINTS) if drawn.random() < SECOND_KILL else None
                    yield Target(item, orders[item.name].pop(0), second, self.seed, turn)
                    turn += 1

    def _play(self, templates: Mapping[str, World], target: Target) -> None:
        folder = self.root / f"play-{target.number}"
        outcome = play(
            templates,
            target.scenario,
            f"play-{target.number}",
            folder,
            seed=target.seed,
            kill_at=target.point,
            second_kill_at=target.second,
        )
        told = self.traces[target.scenario.name]
        self.tallies[target.scenario.name].add(outcome, told[target.point - 1], effects(told)[target.point - 1])
        if outcome.wrong():
            self.wrong.append(outcome)
            print(f"FOUND {target.number}: {outcome}", file=sys.stderr, flush=True)  # the rest may take hours
        else:
            shutil.rmtree(folder)


def _telling_first(told: Trace, drawn: random.Random, distinct: bool) -> list[int]:
    """Points from 1: at first one of each place, then one between any two effects, then the others, each at random.

    A kill leaves what lasts and nothing else: at any point between two effects it leaves the same. So the others, which
    are left out of the ``distinct`` ones, differ in nothing but the place at which the process that is gone waited.
    """
    points = list(range(1, len(told) + 1))
    drawn.shuffle(points)
    lasting = effects(told)
    seen: set[object] = set()
    ranks: list[list[int]] = [[], [], []]
    for point in points:
        place, left = told[point - 1], lasting[point - 1]
        rank = 0 if place not in seen else 1 if left not in seen else 2
        seen |= {place, left}
        ranks[rank].append(point)
    return [point for rank in ranks[: 2 if distinct else 3] for point in rank]

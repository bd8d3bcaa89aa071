"""The harness itself: clocks that skip, points that are counted, invariants that are found to be broken."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.store.records import Deployment, DesiredState
from tests.chaos.invariants import Bounds, check, journal_findings
from tests.chaos.model import IllegalError, Model, broken_promises
from tests.chaos.plane import Dump
from tests.chaos.points import effects
from tests.support.stores import deployment, pool, replica

_SKIPS = """
from tests.chaos import skipping
skipping.install()
import asyncio, time
from orchestration.service.clock import SteadyClock
began = time.time(), time.monotonic(), SteadyClock()()
loop = skipping.SkippingLoop(skipping.Busy())
real = skipping.real_monotonic()
loop.run_until_complete(asyncio.sleep(3600))
assert skipping.real_monotonic() - real < 5
for clock, at in zip((time.time, time.monotonic, SteadyClock()), began):
    assert 3599 < clock() - at < 3610, (clock, clock() - at)
real = skipping.real_monotonic()
async def outside():
    with loop.busy.while_outside():
        await asyncio.sleep(0.2)
loop.run_until_complete(outside())
assert skipping.real_monotonic() - real >= 0.2, "time was skipped while something was under way"
"""

_KILLS = """
from tests.chaos.points import Points
points = Points(trace=True)
points.arm(3)
for name in "abcd":
    points.reach("await", name)
    print(name, flush=True)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)


def test_an_hour_passes_in_a_moment_on_every_clock_unless_something_is_under_way() -> None:
    done = run(_SKIPS)
    assert done.returncode == 0, done.stderr


def test_the_process_dies_at_the_point_that_is_set() -> None:
    done = run(_KILLS)
    assert (done.returncode, done.stdout) == (-9, "a\nb\n")


def test_points_between_two_effects_leave_the_same_behind() -> None:
    trace = [("await", "a"), ("database", "before commit"), ("database", "after commit"), ("await", "b")]
    assert effects([*trace, ("cloud", "create before"), ("cloud", "create after")]) == [0, 0, 0, 1, 1, 2]


STOPPED = {"desired": DesiredState.STOPPED, "observed_status": "STOPPED"}
ROW = deployment("p", id="d", labels={"key": "k"}, env={"V": "1"}, replicas=2, **STOPPED)
PROMISED = {"replicas": 2, "env": {"V": "1"}}


def dumped(*rows: Deployment, **fields: Any) -> Dump:
    records = {"deployment": rows, "replica": [], "node": [], "pool": [pool(id="p")], "model": []}
    shown = {row.id: "STOPPED" for row in rows}
    given: dict[str, Any] = {"records": records, "differs": [], "shown": shown, "lines": {}, "reached": 0, "now": 0.0}
    return Dump(**(given | fields))


def promised() -> Model:
    model = Model().after("DeployModel", "k", PROMISED, {"deployment_id": "d"})
    return model.after("DeleteDeployment", "k", {}, {})


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "is there 0 times"),
        ([ROW, replace(ROW, id="e")], "is there 2 times"),
        ([replace(ROW, id="e")], "its id is e"),
        ([replace(ROW, replicas=1)], "1 replicas are wanted"),
        ([replace(ROW, desired=DesiredState.RUNNING)], "to be RUNNING"),
        ([replace(ROW, env={"V": "2"})], "V is '2'"),
        ([ROW, replace(ROW, id="e", labels={"key": "x"})], "nobody asked for x"),
    ],
)
def test_a_broken_promise_is_found(rows: list[Deployment], words: str) -> None:
    assert broken_promises(promised(), dumped(ROW)) == []
    assert any(words in text for text in broken_promises(promised(), dumped(*rows)))


def test_what_was_refused_is_no_promise() -> None:
    assert Model().after("DeployModel", "k", PROMISED, {"error": "NOT_FOUND"}).promises == {}


def entry(what: str, number: int, **fields: Any) -> dict[str, Any]:
    given = {"name": f"n{number}", "instance_id": f"i{number}", "deployment_id": "d", "replica_id": f"r{number}"}
    rest = {"price_per_hour": 1.0, "gpu_count": 1, "provider_pool_id": "main", "node": ""}
    return {"what": what, **given, **rest, **fields}


BOUNDS = Bounds(live={"d": 1}, pool_price={"main": 2.0}, pool_gpus={"main": 2}, node_gpus={"n": 1})


@pytest.mark.parametrize(
    ("journal", "words"),
    [
        ([entry("created", 1), entry("created", 2)], "d had 2 instances at once"),
        ([entry("created", 1, replica_id="r"), entry("deleted", 1), entry("created", 2, replica_id="r")], "replica r"),
        ([entry("created", n, deployment_id=f"d{n}") for n in range(3)], "cost 3.0/h at once"),
        ([entry("created", n, deployment_id=f"d{n}", gpu_count=2) for n in range(2)], "used 4 GPUs at once"),
        ([entry("created", n, deployment_id=f"d{n}", node="n") for n in range(2)], "node n used 2 GPUs"),
    ],
)
def test_too_much_at_once_is_found_also_when_it_is_gone_again(journal: list[dict[str, Any]], words: str) -> None:
    ended = [entry("ended", n) for n in range(3)]
    found = journal_findings({"journal": [*journal, *ended], "faults": {}}, BOUNDS)
    assert any(words in text for text in found.all())


def test_one_after_the_other_is_not_at_once() -> None:
    journal = [entry("created", 1), entry("deleted", 1), entry("ended", 1), entry("created", 2)]
    assert journal_findings({"journal": journal, "faults": {}}, BOUNDS).all() == []


def test_orphans_lost_instances_and_wrong_statuses_are_found() -> None:
    cloud: dict[str, Any] = {"journal": [], "faults": {}, "instances": [{"name": "stray"}]}
    named = replica("d", instance_name="missing", pool_id="p")
    records = {"deployment": [ROW], "replica": [named], "node": [], "pool": [pool(id="p")]}
    lines = {"d": ["a line 0", "a line 2", "b line 0", "b line 0"]}
    found = check(dumped(ROW, records=records, lines=lines), cloud, BOUNDS).all()
    for words in (
        "stray runs",
        "missing is in a row",
        "is TERMINATING, shown is STOPPED",
        "[0, 2] of a",
        "[0, 0] of b",
    ):
        assert any(words in text for text in found), f"{words}: {found}"


@pytest.mark.parametrize("method", ["StartDeployment", "PurgeDeployment"])
def test_what_runs_is_neither_started_nor_purged(method: str) -> None:
    model = Model().after("DeployModel", "k", PROMISED, {"deployment_id": "d"})
    with pytest.raises(IllegalError):
        model.after(method, "k", {}, {})
    model.after("DeleteDeployment", "k", {}, {}).after(method, "k", {}, {})

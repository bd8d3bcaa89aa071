"""Updates that fail, and changes in the middle of updates, with real engines: what ran goes on running."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.gateway import Api, eventually, running_gateway, tiny

BROKEN = ("--say", "no such weights", "--exit", "3")
QUICK = {"max_attempts": 2}


def _command(*arguments: str, **configuration: Any) -> dict[str, Any]:
    """A configuration that makes another generation."""
    made: dict[str, Any] = tiny("", *arguments, configuration=configuration)["configuration"]
    return made


async def _run(api: Api, *arguments: str, **fields: Any) -> dict[str, Any]:
    """A deployment that runs."""
    deployment = await api.deploy(await api.make_pool(), *arguments, restart_policy=QUICK, **fields)
    return await api.reach(deployment, "RUNNING")


async def _update(api: Api, deployment: str, **fields: Any) -> dict[str, Any]:
    return dict(await api.rest.ok("PATCH", f"/deployment/update/{deployment}", fields))


async def _scale(api: Api, deployment: str, replicas: int) -> None:
    await api.rest.ok("POST", "/deployment/scale", {"deployment_id": deployment, "replicas": replicas})


async def _until(api: Api, deployment: str, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The deployment once something holds of it."""

    async def look() -> dict[str, Any] | None:
        found = await api.status(deployment)
        return found if holds(found) else None

    return dict(await eventually(look))


async def _end(api: Api, deployment: str) -> None:
    await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
    await api.reach(deployment, "STOPPED")


async def _tell(api: Api, deployment: str, *statuses: str) -> None:
    """Wait until events tell these statuses, and no others: the last is told just after it can be seen."""

    async def look() -> bool:
        events = await api.events(deployment)
        told = [event["message"].split(" -> ")[1].split(":")[0] for event in events if " -> " in event["message"]]
        assert told == list(statuses[: len(told)])
        return len(told) == len(statuses)

    await eventually(look)


def _ids(found: dict[str, Any]) -> set[str]:
    return {item["replica_id"] for item in found["replica_statuses"]}


def _generations(found: dict[str, Any]) -> list[int]:
    return [item["generation"] for item in found["replica_statuses"]]


async def test_an_update_whose_engine_ends_at_once_is_rolled_back_with_the_reason(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        before = await _run(api, replicas=3, update_strategy={"max_surge": 0, "max_unavailable": 1})
        deployment = before["deployment_id"]
        updated = await _update(api, deployment, configuration=_command(*BROKEN), labels={"try": "1"})
        assert (updated["generation"], updated["status"]) == (2, "UPDATING")
        after = await _until(api, deployment, lambda found: found["generation"] == 3 and found["status"] == "RUNNING")

        assert (after["configuration"], after["labels"]) == (before["configuration"], {"try": "1"})
        assert len(_ids(after) & _ids(before)) == 2, "replicas that ran well were restarted"
        assert _generations(after) == [3, 3, 3]
        assert "generation 2 was rolled back" in after["error_message"]
        assert "exited with code 3" in after["error_message"]
        assert "no such weights" in after["error_message"]
        told = next(item for item in after["conditions"] if item["type"] == "RolledBack")
        assert (told["status"], told["reason"], bool(told["last_transition_at"])) == ("TRUE", "EXITED", True)
        (event,) = [one for one in await api.events(deployment) if one["reason"] == "DEPLOYMENT_ROLLED_BACK"]
        assert (event["type"], event["attempt"], event["actor"]) == ("WARNING", 2, "deployment-controller")
        assert "no such weights" in event["message"]
        assert event["replica_id"] not in _ids(after)
        await _tell(api, deployment, "RUNNING", "UPDATING", "RUNNING")

        stale = {"etag": updated["etag"], "labels": {"try": "2"}}
        status, answer = await api.rest.call("PATCH", f"/deployment/update/{deployment}", stale)
        assert (status, answer["error"]["status"]) == (409, "ABORTED")
        again = await _update(api, deployment, env={"MODE": "new"})
        assert "rolled back" not in again["error_message"], "a new update was asked for"
        last = await _until(api, deployment, lambda found: found["status"] == "RUNNING")
        assert (last["generation"], last["error_message"], _generations(last)) == (4, "", [4, 4, 4])
        await _end(api, deployment)


async def test_an_update_that_never_becomes_ready_is_rolled_back_and_nothing_was_missing(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        before = await _run(api, replicas=2, update_strategy={"max_surge": 1, "max_unavailable": 0})
        deployment = before["deployment_id"]
        bad = _command("--never-ready", startup_timeout_seconds=1)
        await _update(api, deployment, configuration=bad, restart_policy={"max_attempts": 1})

        def rolled_back(found: dict[str, Any]) -> bool:
            assert found["ready_replicas"] == 2, "max_unavailable is 0"
            return bool(found["generation"] == 3 and found["status"] == "RUNNING")

        after = await _until(api, deployment, rolled_back)
        assert _ids(after) == _ids(before), "replicas that ran well were restarted"
        assert "not ready within 1 s" in after["error_message"]
        await _end(api, deployment)


async def test_an_update_that_finds_no_place_is_rolled_back_after_the_deadline(tmp_path: Path) -> None:
    knobs = {"progress_deadline_s": 1.0, "local_price_per_hour": 1.0, "reconcile_interval_s": 600.0}
    async with running_gateway(tmp_path, **knobs) as api:
        pool = await api.make_pool(max_cost_per_hour=1.0)
        deployment = await api.deploy(pool, update_strategy={"max_surge": 1, "max_unavailable": 0})
        before = await api.reach(deployment, "RUNNING")
        await _update(api, deployment, env={"MODE": "new"})
        after = await _until(api, deployment, lambda found: found["generation"] == 3 and found["status"] == "RUNNING")
        assert _ids(after) == _ids(before)
        assert "replica 0 found no place for" in after["error_message"]
        (told,) = [item for item in after["conditions"] if item["type"] == "RolledBack"]
        assert told["reason"] == "PROGRESS_DEADLINE_EXCEEDED"
        await _end(api, deployment)


async def test_an_update_in_an_update_and_back_keeps_what_still_runs(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        before = await _run(api, replicas=3)
        deployment = before["deployment_id"]
        await _update(api, deployment, configuration=_command("--never-ready"))
        await _until(api, deployment, lambda found: 2 in _generations(found))
        await _update(api, deployment, configuration=_command("--never-ready", "--say", "third"))
        await _until(api, deployment, lambda found: 3 in _generations(found) and 2 not in _generations(found))
        assert (await api.status(deployment))["ready_replicas"] >= 2

        back = await _update(api, deployment, configuration=before["configuration"])
        assert (back["generation"], back["status"]) == (4, "UPDATING")
        after = await api.reach(deployment, "RUNNING")
        assert len(_ids(after) & _ids(before)) == 2, "replicas that ran well were restarted"
        assert (_generations(after), after["error_message"]) == ([4, 4, 4], "")
        await _end(api, deployment)


async def test_a_deployment_is_scaled_in_the_middle_of_an_update(tmp_path: Path) -> None:
    gate = tmp_path / "not yet"
    gate.touch()
    async with running_gateway(tmp_path / "data") as api:
        before = await _run(api, replicas=3, update_strategy={"max_surge": 1, "max_unavailable": 0})
        deployment = before["deployment_id"]
        await _update(api, deployment, configuration=_command("--sick", str(gate)))
        await _until(api, deployment, lambda found: 2 in _generations(found))
        await _scale(api, deployment, 1)
        found = await _until(api, deployment, lambda found: sorted(_generations(found)) == [1, 2])
        assert (found["status"], found["ready_replicas"]) == ("UPDATING", 1)
        await _scale(api, deployment, 2)
        await _until(api, deployment, lambda found: sorted(_generations(found)) == [1, 2, 2])
        gate.unlink()
        after = await api.reach(deployment, "RUNNING")
        assert _generations(after) == [2, 2]
        await _end(api, deployment)


async def test_a_deployment_is_terminated_in_an_update_that_fails_and_started_again(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        before = await _run(api, replicas=2)
        deployment = before["deployment_id"]
        await _update(api, deployment, configuration=_command("--never-ready", startup_timeout_seconds=600))
        await _until(api, deployment, lambda found: 2 in _generations(found))
        await _end(api, deployment)
        stopped = await api.status(deployment)
        assert (stopped["generation"], stopped["replica_statuses"]) == (2, [])

        await _update(api, deployment, configuration=_command(*BROKEN))
        await api.rest.ok("POST", "/deployment/start", {"deployment_id": deployment})
        after = await api.reach(deployment, "RUNNING")
        assert (after["generation"], after["configuration"]) == (4, before["configuration"])
        assert "generation 3 was rolled back" in after["error_message"]
        await _end(api, deployment)


async def test_with_surge_nothing_is_missing_at_any_time_of_an_update(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        before = await _run(api, replicas=2, update_strategy={"max_surge": 1, "max_unavailable": 0})
        deployment = before["deployment_id"]
        await _update(api, deployment, env={"MODE": "new"})

        def done(found: dict[str, Any]) -> bool:
            assert found["ready_replicas"] >= 2, "max_unavailable is 0"
            assert len(found["replica_statuses"]) <= 3, "max_surge is 1"
            return bool(found["status"] == "RUNNING")

        after = await _until(api, deployment, done)
        assert (_generations(after), after["generation"]) == ([2, 2], 2)
        await _tell(api, deployment, "RUNNING", "UPDATING", "RUNNING")
        await _end(api, deployment)


async def test_a_first_deployment_that_fails_has_nothing_to_go_back_to(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        deployment = await api.deploy(await api.make_pool(), *BROKEN, restart_policy=QUICK)
        found = await api.reach(deployment, "FAILED")
        assert found["generation"] == 1
        fixed = await _update(api, deployment, configuration=_command())
        assert (fixed["generation"], fixed["status"]) == (2, "DEPLOYING")
        await api.reach(deployment, "RUNNING")
        await _end(api, deployment)


async def test_an_update_of_a_failed_deployment_starts_anew_even_when_what_is_run_stays(tmp_path: Path) -> None:
    gate = tmp_path / "not yet"
    gate.touch()
    async with running_gateway(tmp_path / "data") as api:
        command = _command()
        # Ends at once while the gate is there, and is the engine when it is not.
        command["command"] = ["/bin/sh", "-c", '[ ! -e "$0" ] && exec "$@"', str(gate), *command["command"]]
        pool = await api.make_pool()
        deployment = await api.deploy(pool, configuration=command, restart_policy={"max_attempts": 1})
        await api.reach(deployment, "FAILED")
        gate.unlink()
        same = await _update(api, deployment, configuration=command)
        assert same["generation"] == 1
        await api.reach(deployment, "RUNNING")
        events = [event["message"] for event in await api.events(deployment)]
        assert any("1 replicas that were given up are tried again" in text for text in events)
        await _end(api, deployment)

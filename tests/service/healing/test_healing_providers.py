"""Providers that do not answer, do not start what they accepted, or are asked to end what no row knows any more."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestration.service import control
from orchestration.service.providers.base import Instance, InstanceState, ProviderUnavailableError
from orchestration.service.providers.local.provider import LocalProvider
from tests.service.healing.test_healing_liveness import PROBES, end, pid_of, replica_once
from tests.support.gateway import eventually, running_gateway

EVERYTHING = {"create", "describe", "delete"}


class Trouble:
    """What is wrong with the provider now."""

    def __init__(self) -> None:
        self.away: set[str] = set()
        """Calls that get no answer."""
        self.pending = False
        self.asked = 0


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> Trouble:
    """The provider of this machine, out of reach or slow to start when the test says so."""
    trouble = Trouble()
    describe, delete, create = LocalProvider.describe, LocalProvider.delete, LocalProvider.create

    def check(call: str) -> None:
        if call in trouble.away:
            trouble.asked += 1
            raise ProviderUnavailableError("the provider is out of reach")

    def seen(instance: Instance) -> Instance:
        if not trouble.pending:
            return instance
        return dataclasses.replace(instance, state=InstanceState.PENDING, endpoint="", started_at=0.0, message="queued")

    async def describe_if_there(self: LocalProvider, name: str) -> Instance | None:
        check("describe")
        instance = await describe(self, name)
        return seen(instance) if instance else None

    async def delete_if_there(self: LocalProvider, name: str) -> None:
        check("delete")
        await delete(self, name)

    async def create_if_there(self: LocalProvider, spec: Any) -> Instance:
        check("create")
        return seen(await create(self, spec))

    monkeypatch.setattr(LocalProvider, "describe", describe_if_there)
    monkeypatch.setattr(LocalProvider, "delete", delete_if_there)
    monkeypatch.setattr(LocalProvider, "create", create_if_there)
    return trouble


@pytest.mark.slow
async def test_a_provider_that_is_away_ends_nothing_and_the_work_goes_on_soon_after(
    tmp_path: Path, trouble: Trouble
) -> None:
    # Without full passes: what was begun goes on by itself.
    async with running_gateway(tmp_path, **{**PROBES, "probe_timeout_s": 10.0}, reconcile_interval_s=600.0) as api:
        deployment = await api.deploy(await api.make_pool())
        ready = (await api.reach(deployment, "RUNNING"))["replica_statuses"][0]
        pid = await pid_of(api, ready["endpoint"])
        trouble.away = EVERYTHING

        async def asked_often() -> bool:
            return trouble.asked >= 3

        await eventually(asked_often)
        assert (await api.status(deployment))["status"] == "RUNNING"
        # The engine dies: that shows, and nothing is ended or begun on the word of a probe alone.
        os.kill(pid, signal.SIGKILL)
        await replica_once(api, deployment, state="UNHEALTHY", attempt=1)
        asked = trouble.asked
        await eventually(lambda: _more_than(trouble, asked + 2 * PROBES["probe_failures"]))
        await replica_once(api, deployment, state="UNHEALTHY", attempt=1)

        trouble.away = set()
        again = (await api.reach(deployment, "RUNNING"))["replica_statuses"][0]
        assert again["attempt"] == 2
        await end(api, deployment)


async def _more_than(trouble: Trouble, count: int) -> bool:
    return trouble.asked > count


async def test_what_cannot_be_asked_of_the_provider_waits_without_using_up_attempts(
    tmp_path: Path, trouble: Trouble
) -> None:
    trouble.away = EVERYTHING
    async with running_gateway(tmp_path) as api:
        deployment = await api.deploy(await api.make_pool(), restart_policy={"max_attempts": 1})
        waiting = await replica_once(api, deployment, state="PROVISIONING", reason="PROVIDER_UNAVAILABLE")
        assert waiting["message"] == "the provider is out of reach"
        await eventually(lambda: _more_than(trouble, 4))
        waited = [event for event in await api.events(deployment) if event["reason"] == "REPLICA_WAITING"]
        assert len(waited) == 1
        trouble.away = set()
        found = await api.reach(deployment, "RUNNING")
        assert (found["replica_statuses"][0]["attempt"], found["replica_statuses"][0]["message"]) == (1, "")
        await end(api, deployment)


async def test_an_instance_that_is_never_started_is_given_up_and_replaced(tmp_path: Path, trouble: Trouble) -> None:
    trouble.pending = True
    async with running_gateway(tmp_path) as api:
        deployment = await api.deploy(await api.make_pool(), configuration={"startup_timeout_seconds": 2})
        await replica_once(api, deployment, attempt=2)
        trouble.pending = False
        found = await api.reach(deployment, "RUNNING")
        failed = next(event for event in await api.events(deployment) if event["reason"] == "REPLICA_FAILED")
        assert "not ready within 2 s: the provider has not started its instance: queued" in failed["message"]
        assert found["replica_statuses"][0]["attempt"] >= 2
        await end(api, deployment)


async def test_the_time_to_start_is_counted_from_when_the_provider_started_it(tmp_path: Path, trouble: Trouble) -> None:
    trouble.pending = True
    async with running_gateway(tmp_path) as api:
        deployment = await api.deploy(await api.make_pool(), "--live", "600")
        waiting = await replica_once(api, deployment, state="STARTING")
        trouble.pending = False
        found = (await api.reach(deployment, "RUNNING"))["replica_statuses"][0]
        assert found["endpoint"]
        assert waiting["endpoint"] == ""
        await end(api, deployment)


@pytest.mark.slow
async def test_what_a_purged_deployment_left_running_is_ended_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Trouble
) -> None:
    monkeypatch.setattr(control, "_REAP_GRACE_S", 3600.0)  # nobody else does it
    async with running_gateway(tmp_path, **PROBES) as api:
        deployment = await api.deploy(await api.make_pool(), restart_policy={"max_attempts": 1})
        ready = (await api.reach(deployment, "RUNNING"))["replica_statuses"][0]
        pid = await pid_of(api, ready["endpoint"])
        trouble.away = {"delete"}
        os.kill(pid, signal.SIGSTOP)
        await api.reach(deployment, "FAILED")
        answer = await api.rest.ok("DELETE", f"/deployment/delete/{deployment}")
        assert answer["status"] == "DELETED"
        status, _ = await api.rest.call("GET", f"/deployment/status/{deployment}")
        assert status == 404
        asked = trouble.asked
        await eventually(lambda: _more_than(trouble, asked))
        assert psutil.pid_exists(pid)
        trouble.away = set()

        async def gone() -> bool:
            return not psutil.pid_exists(pid) and not list((tmp_path / "providers/local/instances").iterdir())

        await eventually(gone, why=lambda: f"{ready['provider_instance_id']} is still there")


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of sixteen megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"file systems cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=4096"], capture_output=True, check=False)


async def test_a_full_disk_is_waited_for_without_using_up_attempts(small_disk: Path, tmp_path: Path) -> None:
    database = f"sqlite+aiosqlite:///{tmp_path}/elsewhere.db"
    async with running_gateway(small_disk / "data", database_url=database) as api:
        pool = await api.make_pool()
        filler = small_disk / "filler"
        fill(filler)
        deployment = await api.deploy(pool, restart_policy={"max_attempts": 1})
        waiting = await replica_once(api, deployment, state="PROVISIONING", reason="START_FAILED")
        assert "No space left on device" in waiting["message"]
        assert (await api.status(deployment))["status"] == "DEPLOYING"
        filler.unlink()
        found = await api.reach(deployment, "RUNNING")
        assert found["replica_statuses"][0]["attempt"] == 1
        await end(api, deployment)

"""What an earlier gateway left is found again, wherever it was interrupted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.service.providers.base import InstanceState
from orchestration.service.providers.local.records import InstanceFolder
from tests.support.provider_conformance import line, read
from tests.support.provider_local import LocalHarness
from tests.support.provider_processes import ask, ended, engine_command, gone, owned_processes, supervisors, until

_ROOT = Path(__file__).parents[4]

_CREATOR = """
import asyncio, sys
from pathlib import Path
from tests.support.provider_local import FakeInventory, LocalHarness

async def main(data_dir, owner, name):
    harness = LocalHarness(Path(data_dir), FakeInventory(), {})
    harness.owner = owner
    harness.provider = harness.new_provider()
    await harness.provider.start()
    print("ready", flush=True)
    await harness.provider.create(harness.serving(name))
    print("created", flush=True)
    await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


class OtherGateway:
    """A process of its own that creates an instance in the same data folder, then waits to be killed."""

    def __init__(self, local: LocalHarness, name: str) -> None:
        arguments = [sys.executable, "-c", _CREATOR, str(local.data_dir), local.owner, name]
        self.process = subprocess.Popen(arguments, cwd=_ROOT, stdout=subprocess.PIPE, text=True)

    async def said(self, word: str) -> None:
        output = self.process.stdout
        assert output is not None
        while line := await asyncio.to_thread(output.readline):
            if line.strip() == word:
                return
        raise AssertionError(f"the other gateway never said {word!r}")

    def kill(self) -> None:
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


async def test_instances_outlive_the_provider_and_are_adopted(local: LocalHarness) -> None:
    before = await local.provider.create(local.serving("a"))
    pid = await ask(before, "/pid")
    provider = await local.restart()
    assert await provider.describe("a") == before
    assert list(await provider.list_owned()) == [before]
    assert await provider.create(local.serving("a")) == before
    assert await ask(before, "/pid") == pid
    os.kill(pid, signal.SIGKILL)
    assert (await ended(provider, "a")).signal == signal.SIGKILL


async def test_instances_survive_a_killed_gateway(local: LocalHarness) -> None:
    other = OtherGateway(local, "a")
    await other.said("created")
    other.kill()
    provider = await local.restart()
    (instance,) = await provider.list_owned()
    assert instance.state is InstanceState.RUNNING
    assert await ask(instance) == "ok"
    assert await provider.create(local.serving("a")) == instance
    assert local.running("a") == 1
    await line(provider, "a", "listening")
    assert [record.message for record in await read(provider, "a")][:3] == ["line 0", "line 1", "line 2"]
    await provider.delete("a")
    await gone(provider, "a")
    assert owned_processes(local.owner) == []


@pytest.mark.parametrize("delay_s", [0.0, 0.004, 0.008, 0.012, 0.016, 0.02, 0.03])
async def test_a_gateway_killed_in_the_middle_of_a_creation(local: LocalHarness, delay_s: float) -> None:
    other = OtherGateway(local, "a")
    await other.said("ready")
    await asyncio.sleep(delay_s)
    other.kill()
    provider = await local.restart()
    instance = await provider.create(local.serving("a"))
    assert await ask(instance) == "ok"
    assert local.running("a") == 1
    assert len(supervisors(local.owner)) == 1


async def test_two_gateways_create_one_name_at_once(local: LocalHarness) -> None:
    others = [OtherGateway(local, "a") for _ in range(2)]
    try:
        await asyncio.gather(*(other.said("ready") for other in others))
        instance = await local.provider.create(local.serving("a"))
        await asyncio.gather(*(other.said("created") for other in others))
        assert await ask(instance) == "ok"
        assert local.running("a") == 1
        assert len(supervisors(local.owner)) == 1
    finally:
        for other in others:
            other.kill()


async def test_an_intent_without_a_process_is_forgotten(local: LocalHarness) -> None:
    await local.provider.create(local.spec("a", ("true",)))
    await ended(local.provider, "a")
    await until(lambda: not supervisors(local.owner))
    (local.folder("a") / "state.json").unlink()
    provider = await local.restart()
    assert await provider.describe("a") is None
    instance = await provider.create(local.spec("a"))
    assert await ask(instance) == "ok"


async def test_a_folder_without_an_intent_is_no_instance(local: LocalHarness) -> None:
    local.folder("empty").mkdir()
    assert await local.provider.describe("empty") is None
    await local.restart()
    assert not local.folder("empty").exists()


async def test_an_engine_whose_state_was_never_written_is_not_left_beside_a_second(local: LocalHarness) -> None:
    first = await local.provider.create(local.spec("a", engine_command("--escaped-child")))
    await ask(first)
    (supervisor,) = supervisors(local.owner)
    # As if the supervisor had died between its engine's start and the record of it.
    (local.folder("a") / "state.json").unlink()
    supervisor.kill()
    await until(lambda: not supervisors(local.owner))
    again = await local.provider.create(local.spec("a"))
    assert await ask(again) == "ok"
    assert local.running("a") == 1


async def test_a_deletion_is_finished_by_the_next_gateway(local: LocalHarness) -> None:
    await ask(await local.provider.create(local.spec("a")))
    await local.provider.close()
    InstanceFolder(local.data_dir, "a").mark_deleting()  # the last thing the earlier gateway did
    provider = await local.restart()
    await gone(provider, "a")
    assert owned_processes(local.owner) == []


async def test_a_supervisor_lost_while_no_gateway_ran(local: LocalHarness) -> None:
    await ask(await local.provider.create(local.spec("a", engine_command("--escaped-child"))))
    await local.provider.close()
    for process in supervisors(local.owner):
        process.kill()
    await until(lambda: not supervisors(local.owner))
    provider = await local.restart()
    found = await provider.describe("a")
    assert found is not None
    assert (found.state, found.reason) == (InstanceState.FAILED, "SUPERVISOR_LOST")
    await until(lambda: not owned_processes(local.owner))


async def test_a_pid_that_another_process_has_now_is_left_alone(local: LocalHarness) -> None:
    await local.provider.create(local.exiting("a", lines=0))
    await ended(local.provider, "a")
    await until(lambda: not supervisors(local.owner))
    stranger = await asyncio.create_subprocess_exec("sleep", "600")
    try:
        state = json.loads((local.folder("a") / "state.json").read_text())
        state |= {"phase": "running", "supervisor_pid": stranger.pid, "engine_pid": stranger.pid, "exit_code": None}
        (local.folder("a") / "state.json").write_text(json.dumps(state))
        found = await local.provider.describe("a")
        assert found is not None
        assert found.reason == "SUPERVISOR_LOST"
        await local.provider.delete("a")
        await gone(local.provider, "a")
        assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()


async def test_a_record_of_an_earlier_boot_says_so(local: LocalHarness) -> None:
    await local.provider.create(local.exiting("a", lines=0))
    await ended(local.provider, "a")
    await until(lambda: not supervisors(local.owner))
    path = local.folder("a") / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"phase": "running", "boot_id": "another"}))
    provider = await local.restart()
    found = await provider.describe("a")
    assert found is not None
    assert (found.reason, found.message) == ("SUPERVISOR_LOST", "the machine was restarted")


@pytest.mark.parametrize("file", ["spec.json", "state.json"])
@pytest.mark.parametrize("content", ["", '{"name": "a', "[]", "{}", '{"phase": "dancing"}'])
async def test_a_corrupt_record_is_told_and_hurts_nobody_else(local: LocalHarness, file: str, content: str) -> None:
    await ask(await local.provider.create(local.spec("broken")))
    healthy = await local.provider.create(local.spec("healthy"))
    (local.folder("broken") / file).write_text(content)
    provider = await local.restart()
    found = await provider.describe("broken")
    assert found is not None
    assert (found.state, found.reason) == (InstanceState.FAILED, "CORRUPT_STATE")
    assert str(local.folder("broken") / file) in found.message
    assert {instance.name: instance for instance in await provider.list_owned()} == {
        "broken": found,
        "healthy": healthy,
    }
    assert await provider.create(local.spec("broken")) == found
    await provider.delete("broken")
    await gone(provider, "broken")
    assert local.running("broken") == 0
    assert await ask(healthy) == "ok"


async def test_another_installations_instance_is_not_ours(local: LocalHarness) -> None:
    await ask(await local.provider.create(local.spec("a")))
    path = local.folder("a") / "spec.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"owner": "someone-else"}))
    assert await local.provider.describe("a") is None
    assert list(await local.provider.list_owned()) == []
    await local.provider.delete("a")
    assert local.running("a") == 1
    path.write_text(json.dumps(record))

"""Owners of leases: never two of one name, and dead only when that is certain."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from orchestration.service.controllers.owner import is_dead, process_owner


def renamed(owner: str, position: int, part: str) -> str:
    parts = owner.split("|")
    parts[position] = part
    return "|".join(parts)


async def owner_of_a_process_that_ended() -> str:
    code = "from orchestration.service.controllers.owner import process_owner; print(process_owner())"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode().strip()


def test_this_process_lives_and_has_a_new_name_each_time() -> None:
    first, second = process_owner(), process_owner()
    assert first != second
    assert not is_dead(first)
    assert not is_dead(second)


async def test_a_process_that_ended_is_dead() -> None:
    ended = await owner_of_a_process_that_ended()
    assert is_dead(ended)
    assert is_dead(renamed(ended, 3, str(os.getpid()))), "the pid is of another process by now"


def test_a_process_that_ended_and_was_not_waited_for_is_dead() -> None:
    code = "from orchestration.service.controllers.owner import process_owner; print(process_owner(), flush=True)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    owner = process.stdout.read().decode().strip()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(owner)
    process.stdout.close()
    process.wait()


@pytest.mark.parametrize(("position", "elsewhere"), [(0, "other-host"), (1, "other-boot"), (2, "1")])
async def test_nothing_is_known_of_other_hosts_boots_and_containers(position: int, elsewhere: str) -> None:
    assert not is_dead(renamed(await owner_of_a_process_that_ended(), position, elsewhere))


@pytest.mark.parametrize("owner", ["", "test", "a|b", "host|1|2.00", "|||||"])
def test_nothing_is_known_of_names_of_another_form(owner: str) -> None:
    assert not is_dead(owner)


def test_a_process_that_is_hidden_is_not_held_to_be_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert not is_dead(renamed(process_owner(), 3, "4194305"))

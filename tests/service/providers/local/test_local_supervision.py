"""Ends of engines and supervisors, wished for or not."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from orchestration.service.providers.base import InstanceState
from tests.support.provider_conformance import read
from tests.support.provider_local import LocalHarness
from tests.support.provider_processes import (
    ask,
    ended,
    engine_command,
    engines,
    gone,
    owned_processes,
    python_command,
    supervisors,
    until,
)


async def test_a_killed_engine_is_recorded_with_its_signal_and_last_lines(local: LocalHarness) -> None:
    instance = await local.provider.create(local.spec("a"))
    os.kill(await ask(instance, "/pid"), signal.SIGKILL)
    found = await ended(local.provider, "a")
    assert (found.state, found.signal, found.exit_code) == (InstanceState.EXITED, signal.SIGKILL, None)
    # Nothing but the signal is known: a kill is not taken for a lack of memory.
    assert found.reason == "SIGNALED"
    assert "SIGKILL" in found.message
    assert [record.message for record in await read(local.provider, "a")] == ["listening"]


async def test_a_killed_supervisor_takes_its_engine_along(local: LocalHarness) -> None:
    await ask(await local.provider.create(local.spec("a", engine_command("--child", "--escaped-child"))))
    assert len(engines(local.owner)) == 3
    (supervisor,) = supervisors(local.owner)
    supervisor.kill()
    found = await ended(local.provider, "a")
    assert (found.state, found.reason) == (InstanceState.FAILED, "SUPERVISOR_LOST")
    await until(lambda: not owned_processes(local.owner))
    assert [record.message for record in await read(local.provider, "a")] == ["listening"]


async def test_the_loss_of_a_supervisor_is_acted_on_without_being_asked(local: LocalHarness) -> None:
    await ask(await local.provider.create(local.spec("a", engine_command("--child"))))
    (supervisor,) = supervisors(local.owner)
    supervisor.kill()
    # No describe here: the provider hears of it by itself.
    await until(lambda: not owned_processes(local.owner))
    await until(lambda: not psutil.pid_exists(supervisor.pid))  # reaped as well


async def test_what_a_dead_engine_leaves_behind_is_killed(local: LocalHarness) -> None:
    spec = local.spec("a", engine_command("--child", "--escaped-child", "--exit-code", "0"))
    await local.provider.create(spec)
    found = await ended(local.provider, "a")
    assert (found.exit_code, found.reason) == (0, "EXITED")
    assert engines(local.owner) == []


async def test_delete_kills_grandchildren(local: LocalHarness) -> None:
    await ask(await local.provider.create(local.spec("a", engine_command("--child", "--escaped-child"))))
    assert len(engines(local.owner)) == 3
    await local.provider.delete("a")
    await gone(local.provider, "a")
    assert owned_processes(local.owner) == []


async def test_an_engine_that_ignores_sigterm_is_killed_after_the_grace(local: LocalHarness) -> None:
    await ask(await local.provider.create(local.spec("a", engine_command("--ignore-term"), stop_grace_s=2.0)))
    begun = time.monotonic()
    await local.provider.delete("a")
    found = await local.provider.describe("a")
    assert found is not None
    assert found.state is InstanceState.STOPPING
    await gone(local.provider, "a")
    assert time.monotonic() - begun >= 2.0
    assert owned_processes(local.owner) == []


async def test_a_follower_gets_the_farewell_of_a_deleted_engine(local: LocalHarness) -> None:
    code = (
        "import signal, sys\n"
        "def bye(number, frame):\n    print('bye', flush=True)\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, bye)\nprint('hello', flush=True)\nsignal.pause()"
    )
    await local.provider.create(local.spec("a", python_command(code)))
    lines: list[str] = []
    async for record in local.provider.logs("a", follow=True):
        lines.append(record.message)
        if record.message == "hello":
            await local.provider.delete("a")
    assert lines == ["hello", "bye"]


async def test_a_hanging_supervisor_does_not_keep_an_instance_alive(
    local: LocalHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.service.providers.local.provider._KILL_MARGIN_S", 0.3)
    await ask(await local.provider.create(local.spec("a", stop_grace_s=0.1)))
    (supervisor,) = supervisors(local.owner)
    supervisor.suspend()
    await local.provider.delete("a")
    await gone(local.provider, "a")
    assert owned_processes(local.owner) == []


async def test_a_stop_in_the_supervisors_first_moment_is_passed_on(local: LocalHarness) -> None:
    for number in range(5):
        name = f"a{number}"
        await local.provider.create(local.spec(name, ("sleep", "600")))
        (supervisor,) = supervisors(local.owner)
        supervisor.terminate()
        found = await ended(local.provider, name)
        assert (found.state, found.signal, found.reason) == (InstanceState.EXITED, signal.SIGTERM, "SIGNALED")
        await until(lambda: not supervisors(local.owner))


async def test_no_zombies_are_left(local: LocalHarness) -> None:
    before = {child.pid for child in psutil.Process().children()}
    for number in range(3):
        await local.provider.create(local.exiting(f"a{number}", lines=0))
    for number in range(3):
        await ended(local.provider, f"a{number}")

    # A zombie is still a child; so is a supervisor on its last lines.
    await until(lambda: not {child.pid for child in psutil.Process().children()} - before)


@pytest.fixture
def background_job() -> Iterator[None]:
    """This process ignores what those ignore that a shell starts with ``&``, or nohup."""
    ignored = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in ignored]
    yield
    for number, handler in zip(ignored, before, strict=True):
        signal.signal(number, handler)


async def test_engines_start_with_default_signals_in_a_session_of_their_own(
    local: LocalHarness, background_job: None
) -> None:
    code = (
        "import os, _signal as s\n"
        "print(os.getsid(0) == os.getpgid(0) == os.getpid(), s.pthread_sigmask(0, []), os.fstat(0).st_rdev)\n"
        "print(sorted(int(n) for n in os.listdir('/proc/self/fd')))\n"
    )
    # Python itself ignores SIGPIPE and SIGXFSZ; a shell, which does not, looks at what it was given.
    shell = ("sh", "-c", 'grep SigIgn /proc/self/status; exec "$0" -I -S -c "$1"', sys.executable, code)
    await local.provider.create(local.spec("a", shell))
    await ended(local.provider, "a")
    ignored, own_session, descriptors = [record.message for record in await read(local.provider, "a")]
    assert int(ignored.split()[1], 16) & 0x7FFFFFFF == 0  # above are the C library's own
    assert own_session == f"True set() {os.makedev(1, 3)}"  # standard input is /dev/null
    assert descriptors == "[0, 1, 2, 3]"  # 3 is the listing itself

"""Ollama's script run for real, with a small program in Ollama's place."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from orchestration.service.engines.base import EngineRequest
from orchestration.service.engines.table import plan

# Writes down what it is told; "serve" is up a moment later and lives until it is told to end.
FAKE = """\
import os, signal, sys, time
from contextlib import suppress
from pathlib import Path
home = Path(os.environ["FAKE_HOME"])
command = sys.argv[1:]
if command[0] == "serve":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
with (home / "calls").open("a") as calls:
    calls.write(" ".join(command) + "\\n")
if command[0] == "serve":
    time.sleep(0.3)
    if os.environ.get("FAKE_FAILS") == "serve":
        sys.exit(3)
    (home / "up").touch()
    signal.sigwait({signal.SIGTERM})
    (home / "ended").touch()
elif command[0] == "list":
    sys.exit(0 if (home / "up").exists() else 1)
elif command[0] == os.environ.get("FAKE_FAILS"):
    sys.exit("Error: file does not exist")
elif command[0] == "pull" and os.environ.get("FAKE_SLOW"):
    time.sleep(600)
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    program = tmp_path / "ollama.py"
    program.write_text(FAKE)
    started: list[subprocess.Popen[str]] = []

    def run(workload: str = "inference", **env: str) -> "subprocess.Popen[str]":
        made = plan(
            EngineRequest(
                engine="ollama",
                model="ollama://llama3.2:1b",
                model_name="org/demo",
                workload_type=workload,
                gpu_per_replica=0,
                configuration={"command": [sys.executable, str(program)]},
                env={},
            )
        )
        process = subprocess.Popen(
            made.command,
            env={"PATH": "/usr/bin:/bin", "FAKE_HOME": str(tmp_path), **env},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)


def calls(home: Path) -> list[str]:
    path = home / "calls"
    return [line for line in path.read_text().splitlines() if line != "list"] if path.exists() else []


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_the_names_come_last_after_pull_and_load(start: Start, tmp_path: Path) -> None:
    process = start()
    wait_for(lambda: len(calls(tmp_path)) == 5)
    assert calls(tmp_path) == [
        "serve",
        "pull llama3.2:1b",
        "run llama3.2:1b ",
        "cp llama3.2:1b org/demo",
        "cp llama3.2:1b org-demo",
    ]
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "ended").exists()


def test_an_embedding_model_is_pulled_only(start: Start, tmp_path: Path) -> None:
    start("embedding")
    wait_for(lambda: any(call.startswith("cp") for call in calls(tmp_path)))
    assert not any(call.startswith("run") for call in calls(tmp_path))


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        ("pull", "ollama: cannot pull llama3.2:1b"),
        ("run", "ollama: cannot load llama3.2:1b"),
        ("cp", "ollama: cannot name llama3.2:1b org/demo"),
        ("serve", "ollama: the server ended"),
    ],
)
def test_a_failed_step_ends_the_replica_and_says_which(start: Start, tmp_path: Path, fails: str, message: str) -> None:
    process = start(FAKE_FAILS=fails)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert message in errors


def test_a_stop_during_a_pull_does_not_wait_for_it(start: Start, tmp_path: Path) -> None:
    process = start(FAKE_SLOW="1")
    wait_for(lambda: "pull llama3.2:1b" in calls(tmp_path))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0


def test_a_program_that_is_not_there_is_named() -> None:
    made = plan(
        EngineRequest(
            engine="ollama",
            model="llama3.2",
            model_name="demo",
            workload_type="inference",
            gpu_per_replica=0,
            configuration={},
            env={},
        )
    )
    command = ("/bin/sh", *made.command[1:])
    done = subprocess.run(command, check=False, env={"PATH": "/nowhere"}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (127, "ollama: ollama is not installed\n")

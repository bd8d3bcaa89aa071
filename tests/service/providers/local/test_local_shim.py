"""Parts of the supervisor that no engine is needed for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.service.providers.local import shim
from orchestration.service.providers.local.shim import oom, statefile
from orchestration.service.providers.local.shim.launch import Launch, encode, receive

_FOLDER = Path(shim.__file__).parent


def test_it_imports_nothing_of_the_project_nor_of_others() -> None:
    code = (
        "import sys; sys.path.append(sys.argv[1]); import shim.supervisor, shim.logfile\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(_FOLDER.parent)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert set(found) - {"__main__"} == {"shim"}


def test_a_supervisor_without_an_order_goes_away(tmp_path: Path) -> None:
    # A shell gives it the lock's descriptor.
    command = ["sh", "-c", 'exec "$@" 3<"$0"', str(tmp_path)]
    command += [sys.executable, "-I", "-S", str(_FOLDER / "__main__.py"), str(tmp_path)]
    for partial in (b"", b"/bin/true\x001.0\x00100\x004"):
        done = subprocess.run(command, input=partial, capture_output=True, check=True)
        assert (done.stdout, done.stderr) == (b"", b"")
    assert list(tmp_path.iterdir()) == []


def test_an_order_arrives_as_it_was_sent() -> None:
    order = Launch(
        executable=b"/bin/engine",
        argv=(b"engine", b"", b"a b", b"x=y", b"\xff\n"),
        environment={b"A": b"", b"B": b"c=d", b"MODEL": "ü".encode()},
        stop_grace_s=2.5,
        log_segment_bytes=1000,
        log_segments=3,
    )
    read_end, write_end = os.pipe()
    os.write(write_end, encode(order))
    os.close(write_end)
    received = receive(read_end)
    os.close(read_end)
    assert received is not None
    assert vars(received) == vars(order)


def test_a_nul_cannot_be_sent() -> None:
    order = Launch(
        executable=b"/e", argv=(b"a\0b",), environment={}, stop_grace_s=1, log_segment_bytes=1, log_segments=1
    )
    with pytest.raises(ValueError, match="NUL"):
        encode(order)


def test_a_process_is_known_by_its_start() -> None:
    child = subprocess.Popen(["sleep", "600"])
    start = statefile.process_start(child.pid)
    assert start is not None
    assert start == statefile.process_start(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert statefile.process_start(child.pid) is None  # a zombie runs no more
    child.wait()
    assert statefile.process_start(child.pid) is None


@pytest.mark.parametrize(
    ("cgroup", "file", "content"),
    [
        ("0::/pod/engine\n", "pod/engine/memory.events", "low 0\nhigh 4\noom 1\noom_kill {}\n"),
        ("0::/\n", "memory.events", "oom_kill {}\n"),
        ("5:cpu,cpuacct:/\n4:memory:/pod\n0::/\n", "memory/pod/memory.oom_control", "under_oom 0\noom_kill {}\n"),
        ("4:memory:/not/seen/from/here\n", "memory/memory.oom_control", "oom_kill_disable 0\noom_kill {}\n"),
    ],
)
def test_only_a_recent_kill_in_the_group_is_evidence(tmp_path: Path, cgroup: str, file: str, content: str) -> None:
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/cgroup").write_text(cgroup)
    events = tmp_path / "cgroup" / file
    events.parent.mkdir(parents=True, exist_ok=True)
    events.write_text(content.format(2))
    found = oom.counter_file(7, root=str(tmp_path / "cgroup"), proc=str(tmp_path / "proc"))
    assert found == str(events)
    recent = oom.RecentKills(found, interval_s=0)
    assert not recent.seen()
    events.write_text(content.format(3))
    assert recent.seen()
    recent.sample()
    assert recent.seen()
    recent.sample()
    assert not recent.seen()


def test_without_a_counter_nothing_is_claimed(tmp_path: Path) -> None:
    assert oom.counter_file(7, root=str(tmp_path), proc=str(tmp_path)) is None
    assert not oom.RecentKills(None).seen()

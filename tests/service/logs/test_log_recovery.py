"""After a crash, a loss of power or a full disk: nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from pathlib import Path

import pytest

from orchestration.service.logs.segments import list_segments, segment_path
from orchestration.service.logs.store import LogStore, LogStoreError, SourceMovedError
from tests.support.log_sources import all_lines, messages, records

_WRITER = """
import asyncio, sys
from pathlib import Path
from orchestration.service.logs.store import LogStore
from orchestration.service.providers.base import LogRecord

async def main() -> None:
    store = LogStore(Path(sys.argv[1]), segment_bytes=20_000)
    number = int(await store.source_cursor("d", "i") or "0")
    while True:
        batch = [LogRecord(time=1.0, stream="stdout", message=f"line {n}", cursor=str(n))
                 for n in range(number + 1, number + 8)]
        await store.append("d", "r", batch, "i")
        number += len(batch)
        print(number, flush=True)

asyncio.run(main())
"""

_WRITER_ON_A_FULL_DISK = """
import asyncio, resource, sys
from pathlib import Path
from orchestration.service.logs.store import LogStore, LogStoreError
from orchestration.service.providers.base import LogRecord

def line(message: str) -> LogRecord:
    return LogRecord(time=1.0, stream="stdout", message=message, cursor=message[:9])

async def main() -> None:
    store = LogStore(Path(sys.argv[1]))
    await store.append("d", "r", [line("first")], "i")
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, resource.RLIM_INFINITY))
    for _ in range(2):
        try:
            await store.append("d", "r", [line("fits"), line("x" * 10_000)], "i")
        except LogStoreError as error:
            print(error)
        [segment] = (Path(sys.argv[1]) / "d").iterdir()
        assert segment.read_bytes().count(b"\\n") == 2 and segment.read_bytes().endswith(b"\\n")
    try:
        await store.append("new", "r", [line("x" * 10_000)], "i")
    except LogStoreError as error:
        print(error)
    assert await store.source_cursor("d", "i") == "first"
    assert await store.source_cursor("new", "i") == ""
    await store.append("d", "r", [line("small")], "i")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.append("d", "r", [line("room again")], "i")
    await store.append("new", "r", [line("room again")], "i")
    await store.close()

asyncio.run(main())
"""


async def _run(script: str, folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(folder), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


async def test_a_killed_writer_loses_no_acknowledged_line_and_doubles_none(tmp_path: Path) -> None:
    acknowledged = 0
    for lines_before_kill in (1, 40, 150):
        writer = await _run(_WRITER, tmp_path)
        assert writer.stdout is not None
        for _ in range(lines_before_kill):
            acknowledged = int(await writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        out, _ = await writer.communicate()
        acknowledged = int(([str(acknowledged), *out.decode().split("\n")[:-1]])[-1])

        store = LogStore(tmp_path, segment_bytes=20_000)
        lines = await all_lines(store, "d")
        assert messages(lines) == [f"line {n}" for n in range(1, len(lines) + 1)]
        assert len(lines) >= acknowledged
        assert await store.source_cursor("d", "i") == str(len(lines))
        await store.close()
    assert len(list_segments(tmp_path / "d")) > 1


@pytest.mark.parametrize("size", range(1, 120, 17))
async def test_a_torn_last_record_is_cut_off(tmp_path: Path, size: int) -> None:
    store = LogStore(tmp_path)
    await store.append("d", "r", records("one", "two", "three"), "i")
    await store.close()
    path = segment_path(tmp_path / "d", 1)
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    path.write_bytes(whole[: min(last + size, len(whole) - 1)])

    store = LogStore(tmp_path)
    assert messages(await all_lines(store, "d")) == ["one", "two"]
    assert await store.source_cursor("d", "i") == "2"
    await store.append("d", "r", records("three again", first=3), "i")
    assert [(line.seq, line.message) for line in await all_lines(store, "d")] == [
        (1, "one"),
        (2, "two"),
        (3, "three again"),
    ]
    await store.close()
    assert path.read_bytes().count(b"\n") == 4


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"\x00" * 5000, id="zeros after the end"),
        pytest.param(b'{"seq":9,"message":"from elsewhere"}\n', id="a gap in the numbers"),
        pytest.param(b"7\n", id="a line that is no record"),
        pytest.param(b"\xff\xfe\n\xff", id="not text"),
    ],
)
async def test_what_a_loss_of_power_leaves_behind_the_last_record_is_cut_off(tmp_path: Path, garbage: bytes) -> None:
    store = LogStore(tmp_path)
    await store.append("d", "r", records("one", "two"), "i")
    await store.close()
    path = segment_path(tmp_path / "d", 1)
    path.write_bytes(path.read_bytes() + garbage)
    store = LogStore(tmp_path)
    assert messages(await store.tail("d", 10, replica_id=None, since=None)) == ["one", "two"]
    await store.append("d", "r", records("three"), "i")
    await store.close()
    store = LogStore(tmp_path)
    assert messages(await all_lines(store, "d")) == ["one", "two", "three"]
    await store.close()


async def test_a_segment_that_was_not_finished_is_begun_again(tmp_path: Path) -> None:
    store = LogStore(tmp_path, segment_bytes=1, max_bytes_per_deployment=10_000)
    await store.append("d", "r", records("one"), "i")
    segment_path(tmp_path / "d", 2).with_suffix(".new").write_bytes(b'{"opened":1,"lat')
    await store.append("d", "r", records("two"), "i")
    assert messages(await all_lines(store, "d")) == ["one", "two"]
    assert list_segments(tmp_path / "d") == (1, 2)
    assert not list((tmp_path / "d").glob("*.new"))
    await store.close()


async def test_a_full_disk_is_told_and_later_appends_work(tmp_path: Path) -> None:
    writer = await _run(_WRITER_ON_A_FULL_DISK, tmp_path)
    out, err = await asyncio.wait_for(writer.communicate(), 10)
    assert (writer.returncode, err.decode()) == (0, "")
    told = out.decode().splitlines()
    assert len(told) == 3
    assert all("cannot be used: File too large" in line for line in told)
    store = LogStore(tmp_path)
    assert [(line.seq, line.message) for line in await all_lines(store, "d")] == [
        (1, "first"),
        (2, "small"),
        (3, "room again"),
    ]
    assert messages(await all_lines(store, "new")) == ["room again"]
    await store.close()


async def test_a_damaged_segment_is_named(tmp_path: Path) -> None:
    store = LogStore(tmp_path, segment_bytes=1, max_bytes_per_deployment=10_000)
    for number in range(3):
        await store.append("d", "r", records(f"{number}"), "i")
    path = segment_path(tmp_path / "d", 2)
    path.write_bytes(path.read_bytes().replace(b'{"seq":2', b'{"sex":2'))
    with pytest.raises(LogStoreError, match=r"segment .*00002\.jsonl is damaged"):
        await store.read("d", after=0, limit=10, since=None, replica_id=None)
    assert messages(await store.tail("d", 1, replica_id=None, since=None)) == ["2"]
    await store.close()
    segment_path(tmp_path / "d", 3).write_bytes(b"")
    store = LogStore(tmp_path)
    with pytest.raises(LogStoreError, match=r"segment .*00003\.jsonl is damaged"):
        await store.append("d", "r", records("3"), "i")
    await store.close()


async def test_files_that_someone_else_shortened_or_removed_are_noticed(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    await store.append("d", "r", records("one", "two"), "i")
    path = segment_path(tmp_path / "d", 1)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(SourceMovedError, match="kept up to '1', and these follow on '2'") as moved:
        await store.append("d", "r", records("three", first=3), "i", after="2")
    assert moved.value.reached == "1"
    await store.append("d", "r", records("two again", first=2), "i", after="1")
    assert messages(await all_lines(store, "d")) == ["one", "two again"]
    for whole_folder in (False, True):
        if whole_folder:
            shutil.rmtree(path.parent)
        else:
            path.unlink()
        with pytest.raises(LogStoreError):
            await store.append("d", "r", records("lost", first=3), "i", after="2")
        await store.append("d", "r", records("anew"), "i", after="")
        assert messages(await all_lines(store, "d")) == ["anew"]
    await store.close()


async def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    store = LogStore(tmp_path / "logs")
    with pytest.raises(LogStoreError, match="cannot be used: Not a directory"):
        await store.append("d", "r", records("line"), "i")
    with pytest.raises(LogStoreError, match="Not a directory"):
        await store.read("d", after=0, limit=1, since=None, replica_id=None)
    await store.close()

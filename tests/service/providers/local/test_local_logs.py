"""Logs of the local provider: what an engine can print, and what is kept of it."""

from __future__ import annotations

import asyncio
import os
import resource
from contextlib import suppress
from pathlib import Path

import pytest

from orchestration.service.providers.base import LogRecord, ProviderError
from orchestration.service.providers.local.logreader import LogReader
from orchestration.service.providers.local.records import InstanceFolder
from orchestration.service.providers.local.shim.logfile import (
    LOG_FOLDER,
    MAX_LINE_BYTES,
    LineSplitter,
    LogWriter,
    segment_numbers,
    segment_path,
)
from tests.support.provider_conformance import line, read
from tests.support.provider_local import LocalHarness, local_harness
from tests.support.provider_processes import ask, ended, python_command, until


async def printed(local: LocalHarness, code: str) -> list[tuple[str, str]]:
    """What is kept of what the code prints."""
    await local.provider.create(local.spec("a", python_command(f"import sys\nout = sys.stdout.buffer\n{code}")))
    async with asyncio.timeout(60):
        return [(record.stream, record.message) async for record in local.provider.logs("a", follow=True)]


@pytest.mark.parametrize(
    ("code", "messages"),
    [
        ("out.write(b'a\\nb\\r\\n\\nc')", ["a", "b", "", "c"]),
        ("out.write('grüße 🙂\\n'.encode())", ["grüße 🙂"]),
        ("out.write(b'\\xff\\xfe\\x00\\x01 ok\\n')", ["\ufffd\ufffd\x00\x01 ok"]),
        ('out.write(b\'{"a": "\\\\n"}\\n\')', ['{"a": "\\n"}']),
        ("out.write('\\u2028\\x85\\x1c x\\n'.encode())", ["\u2028\x85\x1c x"]),
        ("out.write(b'x' * 3_000_000 + b'\\nnext\\n')", ["x" * 1048576 + " [line cut: 1951424 more bytes]", "next"]),
        ("out.write(b'x' * 1048576 + b'\\n')", ["x" * 1048576]),
        ("out.write(b'\\0' * 1048576 + b'\\n')", ["\0" * 1048576]),
        ("out.write(b'\\xff' * 1048576 + b'\\n')", ["\ufffd" * 1048576]),
        ("out.write(b'10%\\r20%\\r\\r\\ndone\\r')", ["10%\r20%\r", "done"]),
        ("out.write(bytes(range(256)) * 4000)", None),
    ],
    ids=[
        "newlines",
        "unicode",
        "invalid",
        "json",
        "separators",
        "megabytes",
        "limit",
        "NULs",
        "invalid megabyte",
        "lone CRs",
        "binary",
    ],
)
async def test_what_an_engine_prints(local: LocalHarness, code: str, messages: list[str] | None) -> None:
    found = await printed(local, code)
    if messages is None:
        assert len(found) == 4001
        assert len({message for _, message in found[1:-1]}) == 1
    else:
        assert found == [("stdout", message) for message in messages]


async def test_both_streams_are_told_apart(local: LocalHarness) -> None:
    found = await printed(local, "print('out')\nprint('err', file=sys.stderr)")
    assert sorted(found) == [("stderr", "err"), ("stdout", "out")]


async def test_what_was_printed_last_is_kept_when_an_engine_prints_a_lot_and_crashes(local: LocalHarness) -> None:
    found = await printed(local, "import os\nfor n in range(20000): print('line', n)\nsys.stdout.flush()\nos.abort()")
    assert [message for _, message in found if message.startswith("line")] == [f"line {n}" for n in range(20000)]
    assert (await ended(local.provider, "a")).reason == "SIGNALED"


def _rotated(count: object) -> str:
    return f"[dropped {count} lines: they were rotated away before they were read]"


async def test_segments_are_rotated_and_capped(tmp_path: Path) -> None:
    settings = {"log_segment_bytes": "4096", "log_segments": "3"}
    async with local_harness(tmp_path, settings=settings) as harness:
        await harness.provider.create(
            harness.spec("a", python_command("for n in range(2000): print('line', n, flush=True)"))
        )
        await ended(harness.provider, "a")
        sizes = [path.stat().st_size for path in (harness.folder("a") / "log").iterdir()]
        assert len(sizes) == 3
        assert max(sizes) <= 4096
        records = await read(harness.provider, "a")
        numbers = [int(record.message.split()[1]) for record in records[1:]]
        assert numbers == list(range(numbers[0], 2000))
        assert numbers[0] > 0
        assert (records[0].stream, records[0].message) == ("stderr", _rotated(numbers[0]))
        assert await read(harness.provider, "a", after=records[0].cursor) == records[1:]
        # A cursor into what is no longer kept goes on at the oldest that is, and says how much is not.
        after = await read(harness.provider, "a", after="1:40:7")
        assert (after[0].message, after[1:]) == (_rotated(numbers[0] - 7), records[1:])
        # The supervisors of the first release did not count lines.
        after = await read(harness.provider, "a", after="1:40")
        assert (after[0].message, after[1:]) == (_rotated("an unknown number of"), records[1:])
        middle = records[len(records) // 2]
        assert await read(harness.provider, "a", after=middle.cursor) == records[len(records) // 2 + 1 :]


async def test_lines_printed_between_two_looks_are_followed_over_rotation(tmp_path: Path) -> None:
    settings = {"log_segment_bytes": "4096", "log_segments": "100"}
    async with local_harness(tmp_path, settings=settings) as harness:
        code = "import time\nfor n in range(1000):\n    print('line', n, flush=True)\n    n % 50 or time.sleep(0.02)"
        await harness.provider.create(harness.spec("a", python_command(code)))
        records = await read(harness.provider, "a", follow=True)
        assert [record.message for record in records] == [f"line {n}" for n in range(1000)]
        assert len({record.cursor.partition(":")[0] for record in records}) > 5


@pytest.mark.parametrize("cursor", ["x", "1", "1:", ":1", "-1:0", "1:-1", "1:7", "1:999999"])
async def test_a_cursor_that_was_not_given_out_is_refused(local: LocalHarness, cursor: str) -> None:
    instance = await local.provider.create(local.spec("a"))
    await ask(instance, "/print?text=hello")
    await line(local.provider, "a", "hello")
    with pytest.raises(ProviderError, match="log cursor") as caught:
        await read(local.provider, "a", after=cursor)
    assert (caught.value.reason, caught.value.retryable) == ("INVALID_CURSOR", False)


async def test_logs_go_on_after_a_restart_of_the_gateway(local: LocalHarness) -> None:
    instance = await local.provider.create(local.spec("a"))
    await ask(instance, "/print?text=before")
    seen = await line(local.provider, "a", "before")
    provider = await local.restart()
    await ask(instance, "/print?text=after")
    await line(provider, "a", "after")
    assert [record.message for record in await read(provider, "a", after=seen.cursor)] == ["after"]


async def test_an_engine_goes_on_when_the_disk_takes_no_more_lines(local: LocalHarness) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Inherited by the supervisor: its log cannot grow beyond this.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        code = "for n in range(20000): print('line', n, flush=True)\nsys.exit(3)"
        await local.provider.create(local.spec("a", python_command(f"import sys\n{code}")))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (await ended(local.provider, "a")).exit_code == 3
    kept = [record.message for record in await read(local.provider, "a")]
    assert len(kept) < 200
    assert kept[0] == "line 0"
    assert all(text.startswith(("line ", "[dropped ")) for text in kept)


def reread(folder: Path) -> list[str]:
    reader = LogReader(InstanceFolder(folder, "a"), "")
    try:
        return [record.message for record in iter_all(reader)]
    finally:
        reader.close()


def iter_all(reader: LogReader) -> list[LogRecord]:
    records: list[LogRecord] = []
    while batch := reader.read():
        records += batch
    return records


def test_a_full_disk_loses_lines_and_says_how_many(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path / "instances/a/log"), 1 << 20, 4)
    writer.write("stdout", ["first"], 1.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60, hard))
    try:
        writer.write("stdout", ["y" * 200], 2.0)  # written in part, then taken back
        writer.write("stdout", ["two", "three" * 50], 3.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.write("stdout", ["last"], 4.0)
    writer.close()
    assert reread(tmp_path) == ["first", "[dropped 3 lines: No space left on device]", "last"]


def test_a_half_written_line_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "instances/a/log"
    writer = LogWriter(str(folder), 1 << 20, 4)
    writer.write("stdout", ["whole"], 1.0)
    writer.close()
    with (folder / "00000001.jsonl").open("ab") as file:
        file.write(b'{"t":2.0,"s":"std')
    assert reread(tmp_path) == ["whole"]
    # A writer that comes later leaves that file as it is.
    again = LogWriter(str(folder), 1 << 20, 4)
    again.write("stdout", ["next"], 3.0)
    again.close()
    assert segment_numbers(str(folder)) == [1, 2]
    assert reread(tmp_path) == ["whole", "next"]


def _peak_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


async def test_the_supervisor_s_memory_is_bounded_whatever_is_printed(local: LocalHarness) -> None:
    code = (
        "import sys, time; out = sys.stdout.buffer; out.write(b'\\n' * 300_000)\n"
        "for _ in range(3): out.write(b'\\0' * 3_000_000 + b'\\n')\n"
        "out.write(b'\\xff' * 50_000_000 + b'\\nend\\n'); out.flush(); time.sleep(600)"
    )
    await local.provider.create(local.spec("a", python_command(code)))
    state = InstanceFolder(local.data_dir, "a").state()
    assert state is not None
    empty, last = 0, ""
    async with asyncio.timeout(60):
        async for record in local.provider.logs("a", follow=True):
            empty += not record.message
            if record.message == "end":
                break
            last = record.message
    assert empty == 300_000
    assert last == "\ufffd" * MAX_LINE_BYTES + f" [line cut: {50_000_000 - MAX_LINE_BYTES} more bytes]"
    assert _peak_kb(state.supervisor_pid) < 64 * 1024


def test_a_line_without_end_takes_no_memory() -> None:
    splitter = LineSplitter()
    for _ in range(100):
        assert splitter.feed(b"z" * 65536) == []
    assert splitter.flush() == ["z" * MAX_LINE_BYTES + f" [line cut: {84 * 65536} more bytes]"]
    assert splitter.flush() == []


async def test_a_disk_that_hangs_holds_up_nothing_but_its_logs(local: LocalHarness) -> None:
    """The next segment is a pipe, which nobody opens for writing: opening it hangs, as on the disk of a lost server."""
    await local.provider.create(local.exiting("a", 3))
    lines = await read(local.provider, "a", follow=True)
    pipe = Path(segment_path(str(local.folder("a") / LOG_FOLDER), 9))
    os.mkfifo(pipe)
    following = asyncio.ensure_future(read(local.provider, "a", after=lines[-1].cursor, follow=True))
    try:
        for _ in range(20):
            await asyncio.sleep(0.05)
            assert not following.done()
            assert await local.provider.describe("a") is not None
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
    finally:
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # the disk is back
    await until(lambda: str(pipe) not in open_files())


async def test_those_that_stop_following_leave_nothing_open(local: LocalHarness) -> None:
    await local.provider.create(local.serving("a"))
    await line(local.provider, "a", "line 2")
    for number in range(100):
        following = asyncio.ensure_future(read(local.provider, "a", follow=True))
        await asyncio.sleep(number / 10_000)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    folder = str(local.folder("a") / LOG_FOLDER)
    await until(lambda: not any(path.startswith(folder) for path in open_files()))


def open_files() -> set[str]:
    """What this process has open, pipes too."""
    paths: set[str] = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            paths.add(str(link.readlink()))
    return paths

"""A job's log as it comes over the wire, in pieces of any size."""

from __future__ import annotations

import json
import random

import pytest

from orchestration.service.providers.base import ProviderError
from orchestration.service.providers.ray.joblog import JobLog
from orchestration.service.providers.ray.logtext import LogText

TOKEN = "0123456789abcdef0123456789abcdef"
TEXTS = [
    "",
    "\n",
    "one line\n",
    "no end",
    'a\\n\\\n\\\\\n"quoted"\n\ttab \u00e9 \U0001f600\n\r\n\x00\nlast \\',
    "\\\\n\n" * 50,
    "x" * 500 + "\n" + "y",
]


def decoded(data: bytes, size: int) -> str:
    reader = LogText()
    pieces = [reader.feed(data[start : start + size]) for start in range(0, len(data), size)]
    assert all(piece == "" or piece.endswith("\n") for piece in pieces)
    return "".join([*pieces, reader.finish()])


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_any_cut_gives_the_same_text(text: str, ascii_only: bool) -> None:
    data = json.dumps({"logs": text}, ensure_ascii=ascii_only).encode()
    for size in (1, 2, 3, 7, 64, len(data)):
        assert decoded(data, size) == text
    assert decoded(data + b"\n", 5) == text
    assert decoded(data.replace(b'"}', b'" }'), 5) == text


def test_random_texts_come_back() -> None:
    chance = random.Random(7)
    for _ in range(300):
        text = "".join(chance.choice('ab\\n\n"\r{}') for _ in range(chance.randrange(40)))
        assert decoded(json.dumps({"logs": text}).encode(), chance.randrange(1, 9)) == text


CUT = [b"", b'{"logs": "cut off', b'{"logs": "a"']
OTHER = [b"<html>" + b" " * 2000, b'{"logs": "\\q\\n"}', b'{"error": "x"}']


@pytest.mark.parametrize("data", [*CUT, *OTHER])
def test_what_is_no_log_is_an_error(data: bytes) -> None:
    with pytest.raises(ProviderError) as caught:
        decoded(data, 10)
    assert caught.value.reason == "BAD_ANSWER"


def test_a_line_without_end_is_not_read_for_ever() -> None:
    reader = LogText()
    reader.feed(b'{"logs": "' + b"x" * 4_000_000)
    with pytest.raises(ProviderError, match="a line of more than"):
        reader.feed(b"x" * 1_000_000)


@pytest.mark.parametrize("cursor", ["17", "x:1", f"{TOKEN}:", f"{TOKEN}:-1", f"{'f' * 32}:1"])
def test_a_cursor_of_another_log_is_refused(cursor: str) -> None:
    with pytest.raises(ProviderError) as caught:
        JobLog(TOKEN, 0.0, cursor)
    assert (caught.value.reason, caught.value.retryable) == ("INVALID_CURSOR", False)


def test_lines_of_an_earlier_job_and_of_ray_are_told_apart() -> None:
    reader = JobLog(TOKEN, 5.0)
    text = (
        f'{"f" * 32} 1.000 o "of another job"\n'
        "2026-11-30 14:15:04,830 INFO Runtime env is setting up.\n"
        f"{TOKEN} 7.500 p 10.0.0.7 20123 0,3\n"
        "Running entrypoint for job r-1: exec python3\n"
        f'{TOKEN} 8.000 e "a warning"\n'
        "a word of Ray's\n"
        f'{TOKEN} 9.000 o "cut sho'
    )
    records = [*reader.feed(text[:100]), *reader.feed(text[100:]), *reader.finish()]
    assert [(item.time, item.stream, item.message) for item in records] == [
        (8.0, "stderr", "a warning"),
        (8.0, "stderr", "a word of Ray's"),
        (9.0, "stdout", '"cut sho'),
    ]
    assert [item.cursor for item in records] == [f"{TOKEN}:{number}" for number in (5, 6, 7)]
    assert reader.report is not None
    assert (reader.report.endpoint, reader.report.gpu_ids) == ("http://10.0.0.7:20123", ("0", "3"))


def test_an_address_of_six_is_bracketed() -> None:
    reader = JobLog(TOKEN, 0.0)
    reader.feed(f"{TOKEN} 1.000 p fd00::7 20123 -\n")
    assert reader.report is not None
    assert (reader.report.endpoint, reader.report.gpu_ids) == ("http://[fd00::7]:20123", ())

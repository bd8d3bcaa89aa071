"""The gateway's log."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest
import structlog

from orchestration.service.logging import configure_logging, request_id


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], level = before
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    request_id.set("")


def records(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_stream_that_is_no_terminal_gets_json_with_utc_times_and_the_request_id() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    request_id.set("r-1")
    structlog.stdlib.get_logger("gateway").info("served", code=200)
    (record,) = records(stream)
    assert datetime.fromisoformat(str(record.pop("timestamp"))).utcoffset() is not None
    assert record == {"message": "served", "code": 200, "level": "info", "logger": "gateway", "request_id": "r-1"}


def test_lines_of_libraries_go_the_same_way() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    request_id.set("r-2")
    logging.getLogger("aiohttp.access").warning("slow %s", "call", extra={"seconds": 3})
    (record,) = records(stream)
    assert record["message"] == "slow call"
    assert (record["seconds"], record["request_id"], record["level"]) == (3, "r-2", "warning")


def test_lines_below_the_level_are_left_out() -> None:
    stream = io.StringIO()
    configure_logging("warning", stream=stream)
    structlog.stdlib.get_logger("a").info("no")
    logging.getLogger("b").info("no")
    structlog.stdlib.get_logger("a").error("yes")
    assert [record["message"] for record in records(stream)] == ["yes"]


def test_an_exception_is_one_json_line_without_local_variables() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    secret = "hunter" + str(2)
    try:
        int("gone")
    except ValueError:
        structlog.stdlib.get_logger("a").exception("failed")
    (record,) = records(stream)
    assert "ValueError" in json.dumps(record["exception"])
    assert secret not in stream.getvalue()


def test_a_terminal_gets_colours_and_a_console_in_a_file_none() -> None:
    terminal, file = Terminal(), io.StringIO()
    for stream, format_ in ((terminal, "auto"), (file, "console")):
        configure_logging(format="console" if format_ == "console" else "auto", stream=stream)
        structlog.stdlib.get_logger("a").info("served", code=200)
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b[" not in file.getvalue()
    assert "code=200" in file.getvalue()

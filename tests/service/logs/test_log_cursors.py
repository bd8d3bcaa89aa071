"""The cursor of page, tail and follow."""

from __future__ import annotations

import pytest

from orchestration.service.logs.lines import encode_cursor
from orchestration.service.logs.store import InvalidCursorError, LogLine, decode_cursor


@pytest.mark.parametrize("seq", [1, 2, 255, 256, 2**40, 2**63])
def test_cursor_gives_back_the_sequence_number(seq: int) -> None:
    line = LogLine(seq=seq, time=0.0, replica_id="r", stream="stdout", message="", deployment_id="d-1")
    assert decode_cursor(line.cursor, "d-1") == seq


def test_cursor_is_fit_for_a_url() -> None:
    assert all(encode_cursor(seq, "d").replace("-", "").replace("_", "").isalnum() for seq in range(1, 500))


@pytest.mark.parametrize(
    "cursor",
    [
        pytest.param("", id="empty"),
        pytest.param("5", id="a number"),
        pytest.param(encode_cursor(7, "d-1")[:-1], id="cut"),
        pytest.param(encode_cursor(7, "d-1") + "AAAA", id="longer"),
        pytest.param(encode_cursor(7, "d-1").replace("A", "é"), id="not ascii"),
        pytest.param(encode_cursor(0, "d-1"), id="before the first line"),
        pytest.param("!" * 20, id="not base64"),
    ],
)
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidCursorError, match="is not a log cursor; use one that came with a log line"):
        decode_cursor(cursor, "d-1")


def test_a_cursor_of_another_deployment_is_refused_and_the_text_says_so() -> None:
    with pytest.raises(InvalidCursorError, match="not a cursor of the log of deployment 'd-2'"):
        decode_cursor(encode_cursor(7, "d-1"), "d-2")

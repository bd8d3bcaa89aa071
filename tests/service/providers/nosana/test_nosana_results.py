"""Results as hosts write them, and places in logs, read with care."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from orchestration.service.providers.nosana.cursors import Aligner, Cursor, parse_cursor
from orchestration.service.providers.nosana.flows import Entry, parse_result, to_flow
from orchestration.service.providers.nosana.models import moment, to_deployment, to_job
from orchestration.service.providers.nosana.node import read_message


def one_state(**state: Any) -> dict[str, Any]:
    """A result with one operation."""
    return {"status": "failed", "opStates": [{"operationId": "engine", "logs": [], **state}]}


def test_lines_of_a_result() -> None:
    logs = [
        {"type": "stdin", "log": "$ serve", "timestamp": "1"},
        {"type": "stdout", "log": "one\ntwo\r\n", "timestamp": "2026-08-21T10:00:00.500Z"},
        {"type": "stderr", "log": "three", "timestamp": "1787306400750"},
        {"type": "nodeerr", "log": "pull failed", "timestamp": "soon"},
        "junk",
        {"log": None},
    ]
    flow = to_flow(one_state(logs=logs, endTime=1_787_306_401_000))
    assert [(entry.kind, entry.stream, entry.message) for entry in flow.entries] == [
        ("engine", "stdout", "one"),
        ("engine", "stdout", "two"),
        ("engine", "stderr", "three"),
        ("host", "stderr", "[nosana] pull failed"),
        ("engine", "stderr", ""),
    ]
    assert [entry.time for entry in flow.entries[1:4]] == [1_787_306_400.5, 1_787_306_400.75, 1_787_306_401.0]


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        ({"exitCode": 3}, {"exit_code": 3}),
        ({"exitCode": None}, {"exit_code": None}),
        ({"exitCode": "2"}, {"exit_code": 2}),
        ({"exitCode": 10**400}, {"exit_code": None}),
        ({"exitCode": 2**31}, {"exit_code": None}),
        ({"exitCode": "soon"}, {"exit_code": None}),
        ({"diagnostics": {"state": {"OOMKilled": True}}}, {"out_of_memory": True}),
        ({"diagnostics": {"reason": {"hostShutDown": True}}}, {"host_shut_down": True}),
        ({"diagnostics": {"reason": {"jobExpired": True}}}, {"expired": True}),
        ({"diagnostics": {"reason": {"jobStopped": True}}}, {"stopped": True}),
        ({"error": {"event": "e", "message": "no such image"}}, {"error": "no such image"}),
        ({"diagnostics": None, "error": "x", "logs": 7}, {"error": "", "entries": ()}),
    ],
)
def test_how_it_ended(state: dict[str, Any], wanted: dict[str, Any]) -> None:
    flow = to_flow(one_state(**state))
    assert {name: getattr(flow, name) for name in wanted} == wanted


@pytest.mark.parametrize("value", [None, "", "{", "[]", [], {}, {"status": "x"}, 7, "[" * 100_000])
def test_what_is_no_result(value: Any) -> None:
    assert parse_result(value) is None


def test_errors_of_the_whole_are_told() -> None:
    flow = to_flow({"opStates": [], "errors": ["bad image", {"code": 1}]})
    assert flow.error == 'bad image; {"code": 1}'


def test_what_cannot_be_sent_or_stored_is_taken_out_of_texts() -> None:
    told = json.loads(r'"a\ud83d b\u0000c \ud83d\ude00"')
    wanted = "a? bc \U0001f600"
    flow = to_flow(one_state(logs=[{"log": told}], error={"message": told}))
    assert (flow.error, [entry.message for entry in flow.entries]) == (wanted, [wanted])
    assert to_flow({"opStates": [], "errors": [told]}).error == wanted
    message = json.dumps({"data": json.dumps({"type": "container", "message": told})})
    (entry,) = read_message(message)
    assert entry.message == wanted
    ((_, cursor),) = given([entry], Cursor(job="j"), live=True)
    assert parse_cursor(str(cursor)) == cursor


def test_errors_that_are_nested_without_end_are_told_as_such() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert to_flow({"opStates": [], "errors": [deep]}).error == "an error that cannot be read"


def test_a_message_of_a_host_that_is_nested_without_end_holds_no_line() -> None:
    assert read_message("[" * 100_000) == []
    assert read_message('{"data": "%s"}' % ("[" * 100_000)) == []


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2026-08-21T10:00:00Z", 1_787_306_400.0),
        ("2026-08-21 10:00:00", 1_787_306_400.0),
        (1_787_306_400, 1_787_306_400.0),
        (1_787_306_400_000, 1_787_306_400.0),
        ("1787306400000", 1_787_306_400.0),
        ("yesterday", 0.0),
        (None, 0.0),
        (-5, 0.0),
        (10**400, 0.0),
        ("0001-01-01T00:00:00+23:00", 0.0),
        (True, 0.0),
        (float("nan"), 0.0),
    ],
)
def test_times_in_every_writing(value: Any, seconds: float) -> None:
    assert moment(value) == seconds


@pytest.mark.parametrize("value", ["9999-12-31T23:59:59-23:00", 10**19, "9" * 22, 10.0**300, 99_999_999_999])
def test_a_time_to_come_is_that_of_reading(value: Any) -> None:
    before = time.time()
    assert before <= moment(value) <= time.time()
    assert before <= to_flow(one_state(logs=[{"log": "x", "timestamp": value}])).entries[0].time <= time.time()


def test_a_clock_that_is_somewhat_ahead_is_believed() -> None:
    ahead = time.time() + 3600
    assert moment(ahead) == ahead


def test_jobs_and_deployments_in_every_writing() -> None:
    assert [to_job({"state": state}).state for state in (0, 1, "2", "stopped", 9, None, "NEW")] == [
        *("QUEUED", "RUNNING", "COMPLETED", "STOPPED", "QUEUED", "QUEUED", "NEW")
    ]
    assert to_job({"job": "../x", "node": "1" * 32}) == to_job({})
    told = {"id": "a/b", "vault": "v", "owner": "o", "endpoints": [{"url": "x.example/"}, {"url": 7}, 3]}
    found = to_deployment(told)
    assert (found.id, found.signer, found.endpoints) == ("", "v", ("https://x.example",))


def engine_lines(seed: int) -> list[Entry]:
    """Lines of which many read alike, also within a millisecond."""
    chance = random.Random(seed)
    at, found = 1000.0, list[Entry]()
    for _ in range(40):
        at += chance.choice([0.0, 0.0, 0.001, 0.5])
        kind = chance.choice(["engine", "engine", "engine", "host"])
        text = chance.choice(["a", "b", "c"])
        found.append(
            Entry(kind="host" if kind == "host" else "engine", stream="stdout", time=round(at, 3), message=text)
        )
    return found


def given(entries: list[Entry], after: Cursor, *, live: bool) -> list[tuple[Entry, Cursor]]:
    """What an aligner gives of these lines."""
    aligner = Aligner(after, live=live)
    found = [item for entry in entries for item in aligner.take(entry)]
    return found + list(aligner.finish())


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_every_place_of_a_log_is_found_again(seed: int, live: bool) -> None:
    entries = engine_lines(seed)
    whole = given(entries, Cursor(job="j"), live=live)
    assert [entry for entry, _ in whole] == entries
    for index, (_, cursor) in enumerate(whole):
        assert given(entries, cursor, live=live) == whole[index + 1 :]
        assert parse_cursor(str(cursor)) == cursor


def numbered(numbers: range, *, at: float | None = None) -> list[Entry]:
    """One line each second, or all at one time."""
    return [
        Entry(kind="engine", stream="stdout", time=float(n) if at is None else at, message=f"line {n}") for n in numbers
    ]


def told(entries: list[Entry], after: Cursor, *, live: bool) -> list[str]:
    """What is given, as numbers."""
    return [entry.message.removeprefix("line ") for entry, _ in given(entries, after, live=live)]


def test_a_place_is_found_where_times_or_beginnings_are_others() -> None:
    cursor = given(numbered(range(10)), Cursor(job="j"), live=True)[3][1]
    rest = [str(n) for n in range(4, 10)]
    assert told(numbered(range(10), at=99.0), cursor, live=False) == rest
    assert told(numbered(range(2, 10), at=99.0), cursor, live=False) == rest
    assert told(numbered(range(6, 10), at=99.0), cursor, live=False) == rest[2:]
    for begin in range(10):
        assert told(numbered(range(begin, 10)), cursor, live=True) == rest[max(0, begin - 4) :]


def test_a_host_that_lost_the_place_does_not_keep_back_what_is_new() -> None:
    cursor = given(numbered(range(100)), Cursor(job="j"), live=True)[49][1]
    aligner = Aligner(cursor, live=True)
    assert [len(list(aligner.take(entry))) for entry in numbered(range(60, 64))] == [1, 1, 1, 1]

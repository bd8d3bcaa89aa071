"""What a job's result tells: how its engine ended, and all that it printed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestration.service.providers.nosana.models import clean, items, mapping, moment, number, text

_LARGEST_CODE = 2**31 - 1
"""No system has codes beyond this; one that is told is no code."""
NODE_PREFIX = "[nosana] "
"""Before lines that the host wrote, not the engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a job's log."""

    kind: Literal["engine", "host"]
    stream: str
    """``stdout`` or ``stderr``."""
    time: float
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A job's result."""

    exit_code: int | None
    out_of_memory: bool
    host_shut_down: bool
    expired: bool
    stopped: bool
    error: str
    entries: tuple[Entry, ...]


def parse_result(value: Any) -> Mapping[str, Any] | None:
    """The result of an answer, which may be written as text; None when there is none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    found = mapping(value)
    return found if "opStates" in found else None


def to_flow(result: Mapping[str, Any]) -> Flow:
    """The result, read with care: its parts come from a host, which may write anything."""
    states = items(result.get("opStates"))
    reasons = [mapping(mapping(state.get("diagnostics")).get("reason")) for state in states]
    docker = [mapping(mapping(state.get("diagnostics")).get("state")) for state in states]
    errors = [text(mapping(state.get("error")).get("message")) for state in states]
    if not any(errors) and isinstance(result.get("errors"), list):
        errors += [_written(item) for item in result["errors"]]
    return Flow(
        exit_code=next((code for state in reversed(states) if (code := _exit_code(state)) is not None), None),
        out_of_memory=any(state.get("OOMKilled") is True for state in docker),
        host_shut_down=any(reason.get("hostShutDown") is True for reason in reasons),
        expired=any(reason.get("jobExpired") is True for reason in reasons),
        stopped=any(reason.get("jobStopped") is True for reason in reasons) or text(result.get("status")) == "stopped",
        error="; ".join(error for error in errors if error)[:2000],
        entries=tuple(entry for state in states for entry in _entries(state)),
    )


def _written(error: Any) -> str:
    if isinstance(error, str):
        return clean(error)
    try:
        return json.dumps(error)
    except RecursionError:
        return "an error that cannot be read"


def _exit_code(state: Mapping[str, Any]) -> int | None:
    code = number(state.get("exitCode"), math.nan)
    return int(code) if abs(code) <= _LARGEST_CODE else None


def _entries(state: Mapping[str, Any]) -> Iterator[Entry]:
    end = moment(state.get("endTime"))
    for told in items(state.get("logs")):
        kind = text(told.get("type"))
        if kind == "stdin":
            continue
        yield from lines(
            "host" if kind == "nodeerr" else "engine",
            "stdout" if kind == "stdout" else "stderr",
            moment(told.get("timestamp")) or end,
            text(told.get("log")),
        )


def lines(kind: Literal["engine", "host"], stream: str, time: float, message: str) -> Iterator[Entry]:
    """The lines of one piece of output."""
    prefix = NODE_PREFIX if kind == "host" else ""
    for line in clean(message).removesuffix("\n").split("\n"):
        yield Entry(kind=kind, stream=stream, time=time, message=prefix + line.removesuffix("\r"))

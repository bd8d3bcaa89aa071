"""A command line that was run, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """What one command line did."""

    code: int
    out: str
    err: str


Run = Callable[..., Awaitable[Result]]
"""Runs one command line, given as separate arguments."""

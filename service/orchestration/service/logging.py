"""The gateway's log: structlog for our own lines and those of libraries, key=value for people, JSON for machines."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Literal, TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the call that the current task serves; empty outside of calls."""

Format = Literal["auto", "console", "json"]


def configure_logging(level: str = "info", format: Format = "auto", stream: TextIO | None = None) -> None:  # noqa: A002
    """Send every log line of the process to one stream (standard error), from ``level`` up.

    ``auto`` is ``console`` when the stream is a terminal and ``json`` when not. Lines carry the `request_id` of the
    call that they belong to. Called again, it replaces what was set up before.
    """
    target = sys.stderr if stream is None else stream
    people = format == "console" or (format == "auto" and target.isatty())
    shared = _shared_processors()
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(people=people, colors=target.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of each start what concerns migrations only
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.captureWarnings(True)


def _add_request_id(_: object, __: str, entry: EventDict) -> EventDict:
    given = request_id.get()
    if given:
        entry.setdefault("request_id", given)
    return entry


def _shared_processors() -> Sequence[Processor]:
    return (
        _add_request_id,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    )


def _renderers(*, people: bool, colors: bool) -> Sequence[Processor]:
    if people:
        plain = structlog.dev.plain_traceback
        return (structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain),)
    return (
        # Local variables stay out: they may hold what a log must not.
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(),
    )

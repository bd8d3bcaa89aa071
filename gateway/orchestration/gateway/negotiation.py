"""Media types: what a body may be, and in which form an answer is wanted."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import grpc
from multidict import CIMultiDictProxy

from orchestration.gateway.errors import RequestError

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
EVENT_STREAM: Final = "text/event-stream"

LINES: Final = (NDJSON, "application/ndjson", "application/jsonl")
"""Names that NDJSON goes by."""
_PARAMETER: Final = re.compile(r';\s*([\w-]+)\s*=\s*("[^"]*"|[^;\s]*)')
_UTF8: Final = frozenset({"utf-8", "utf8", "us-ascii"})


@lru_cache(maxsize=256)
def check_content_type(content_type: str) -> None:
    """Accept JSON in UTF-8. Raises `RequestError` (415) for all else; a body without a type is taken for JSON."""
    media_type, _, rest = content_type.partition(";")
    media_type = media_type.strip().lower()
    if media_type in ("", JSON) or (media_type.startswith("application/") and media_type.endswith("+json")):
        charset = next((value for key, value in _PARAMETER.findall(";" + rest) if key.lower() == "charset"), "utf-8")
        if charset.strip('"').lower() in _UTF8:
            return
        raise _unsupported(f"the charset {charset} is not supported: send UTF-8", content_type)
    if media_type.startswith("application/grpc"):
        raise _unsupported("this is the REST port: gRPC is served on another one", content_type)
    raise _unsupported(f"{media_type} is not supported: send {JSON}", content_type)


def _unsupported(message: str, content_type: str) -> RequestError:
    return RequestError(
        415,
        grpc.StatusCode.INVALID_ARGUMENT,
        "UNSUPPORTED_MEDIA_TYPE",
        f"Content-Type: {message}",
        metadata={"content_type": content_type},
        headers={"Accept": JSON},
    )


def check_accepted(headers: CIMultiDictProxy[str]) -> None:
    """Raises `RequestError` (406) when the Accept headers exclude JSON."""
    accept = ",".join(headers.getall("Accept", ()))
    if accept and accept not in ("*/*", JSON):
        check_accepts_json(accept)


@lru_cache(maxsize=256)
def check_accepts_json(accept: str) -> None:
    """Raises `RequestError` (406) when the Accept header excludes JSON."""
    if _quality(accept, JSON) <= 0:
        raise _not_acceptable(accept, JSON)


@lru_cache(maxsize=256)
def choose_stream_type(accept: str, default: str = NDJSON) -> str:
    """Server-sent events, lines of JSON or one JSON array, whichever is wanted most.

    Args:
        accept: The Accept header.
        default: `NDJSON` or `JSON`: what is sent to those who would take either.

    Raises:
        RequestError: 406 for those who want none of them.
    """
    wanted = {
        EVENT_STREAM: _quality(accept, EVENT_STREAM),
        NDJSON: max(_quality(accept, each) for each in LINES),
        JSON: _quality(accept, JSON),
    }
    most = max(wanted.values())
    if most <= 0:
        raise _not_acceptable(accept, f"{NDJSON}, {EVENT_STREAM} and {JSON}")
    # Of two that are wanted as much, the one that is named goes before the one that a wildcard stands for.
    names = {each.partition(";")[0].strip().lower() for each in accept.split(",")}
    named = {EVENT_STREAM: EVENT_STREAM in names, NDJSON: not names.isdisjoint(LINES), JSON: JSON in names}
    best = [each for each in wanted if wanted[each] == most and named[each]] or [
        each for each in wanted if wanted[each] == most
    ]
    return best[0] if len(best) == 1 or default not in best or named[EVENT_STREAM] else default


def _quality(accept: str, media_type: str) -> float:
    """How much a media type is wanted, from 0 to 1; the most specific range decides."""
    main = media_type.partition("/")[0]
    best: dict[str, float] = {}
    for item in accept.split(","):
        wanted = item.partition(";")[0].strip().lower()
        given = next((value for key, value in _PARAMETER.findall(item) if key.lower() == "q"), "1")
        try:
            best[wanted] = float(given)
        except ValueError:
            best[wanted] = 0.0
    for wanted in (media_type, f"{main}/*", "*/*"):
        if wanted in best:
            return best[wanted]
    return 0.0


def _not_acceptable(accept: str, offered: str) -> RequestError:
    return RequestError(
        406,
        grpc.StatusCode.INVALID_ARGUMENT,
        "NOT_ACCEPTABLE",
        f"Accept: {accept} leaves nothing of what is offered: {offered}",
        metadata={"accept": accept},
    )

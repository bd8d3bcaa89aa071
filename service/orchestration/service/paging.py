"""Pages of lists: sizes, and tokens that are bound to the query they came from."""

from __future__ import annotations

import base64
import hashlib

from orchestration.service.errors import InvalidArgumentError, Violation

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
_DIGEST_BYTES = 8


def page_size(requested: int) -> int:
    """The size of a page: 0 is the default, more than the maximum is cut. Negative sizes are refused by the protos."""
    return min(requested or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def _digest(query: tuple[object, ...]) -> bytes:
    return hashlib.blake2s(repr(query).encode(), digest_size=_DIGEST_BYTES).digest()


def encode_token(position: str, *query: object) -> str:
    """A token that goes on after `position` in the list that `query` (method and filters) selects."""
    return base64.urlsafe_b64encode(_digest(query) + position.encode()).decode().rstrip("=")


def decode_token(token: str, *query: object) -> str | None:
    """The position a token stands for, or None for an empty token.

    Raises `InvalidArgumentError` when it is no token of ours, or one of another query.
    """
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        position = raw[_DIGEST_BYTES:].decode()
    except ValueError:  # not ASCII, not base64, or not a position
        raise InvalidArgumentError(
            Violation("page_token", "is no page token of this server; send the next_page_token of the answer before")
        ) from None
    if raw[:_DIGEST_BYTES] != _digest(query) or not position:
        raise InvalidArgumentError(
            Violation("page_token", "belongs to a query with other filters; repeat those it was given for")
        )
    return position

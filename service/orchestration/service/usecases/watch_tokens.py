"""Resume tokens of watches: where one stood, in which database, and with which filters."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from orchestration.service.errors import InvalidArgumentError, OutOfRangeError, Violation
from orchestration.v1 import model_deployments_pb2 as pb

_FIELD = "resume_token"
_DIGITS = 12
"""Hexadecimal digits that tell installations, and filters, apart."""
_OF_FIRST_RELEASE = re.compile(r"r[0-9]+")


@dataclass(frozen=True, slots=True)
class Position:
    """How far a watcher has been told."""

    revision: int
    """Every deployment whose last visible change is not later than this one."""
    base: int
    """Everything up to here, without exception: a deployment made later may not have been told yet."""
    log: str = ""
    """Id of the log that told everything up to here, and so knows what was told; empty: the change feed told some."""
    seen: int = 0
    """No deployment was told as it was after this revision."""


class Tokens:
    """The tokens of one installation."""

    def __init__(self, installation_id: str) -> None:
        self._installation = installation_id.replace("-", "")[:_DIGITS]

    def encode(self, position: Position, request: pb.WatchDeploymentsRequest) -> str:
        """The token with which the same watch goes on from there."""
        text = f"{self._installation}.{_filters(request)}.{position.revision}.{position.base}"
        text = f"{text}.{position.seen}.{position.log}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def decode(self, request: pb.WatchDeploymentsRequest) -> Position:
        """Where the request's token stands.

        Raises `InvalidArgumentError` when it is no token, or of other filters; `OutOfRangeError` when it is of another
        installation's database, or from the first release, which did not say of which.
        """
        token = request.resume_token
        try:
            text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
            if _OF_FIRST_RELEASE.fullmatch(text):
                raise too_old()
            installation, filters, revision, base, seen, log = text.split(".")
            position = Position(int(revision), int(base), log, int(seen))
        except ValueError:  # not ASCII, not base64, or not what `encode` writes
            raise InvalidArgumentError(Violation(_FIELD, "is no resume token of this server")) from None
        if installation != self._installation:
            raise foreign()
        if filters != _filters(request):
            text = "belongs to a watch with other filters; repeat those it was given for, or watch without it"
            raise InvalidArgumentError(Violation(_FIELD, text))
        return position


def _filters(request: pb.WatchDeploymentsRequest) -> str:
    chosen = (request.org_id, request.pool_id, request.deployment_id, request.model_name)
    return hashlib.blake2s(repr(chosen).encode()).hexdigest()[:_DIGITS]


def foreign() -> OutOfRangeError:
    """The error for a position that this database has never reached."""
    text = "resume_token is of another database, or of this one before a backup was restored; watch without it, for a"
    return OutOfRangeError("RESUME_TOKEN_FOREIGN", f"{text} snapshot")


def too_old() -> OutOfRangeError:
    """The error for a position that the feed has forgotten."""
    text = "resume_token is older than the changes that are still kept; watch without it, for a snapshot"
    return OutOfRangeError("RESUME_TOKEN_TOO_OLD", text)

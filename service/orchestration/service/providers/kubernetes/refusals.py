"""What an API server says when it does not do what it was asked.

Only a Status object is the API server's word: whatever else stands on the way, a proxy or an ingress, answers with the
same codes, and then it is not known what became of the request.
"""

from __future__ import annotations

import json
import re

from orchestration.service.providers.base import ProviderError, ProviderUnavailableError
from orchestration.service.providers.http_client import HttpStatusError
from orchestration.service.providers.kubernetes.names import Json, is_json
from orchestration.service.providers.plain_text import plain, shortened

_CUT_OFF = re.compile(r'\{\s*"kind"\s*:\s*"Status"')
"""How a Status begins of which the client kept the first part only."""
_TEXT = r'\s*:\s*("(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)'
"""A text of JSON up to its last quote, or as far as it is there."""
_LONGEST_MESSAGE = 1000
"""Characters. A denial may list every rule of a cluster, and what is told of it is stored with the replica."""
_WITHOUT_STATUS = {401, 403}
"""What a proxy that asks for credentials may answer as well: nothing was done, whoever says so."""


class RefusedError(Exception):
    """The API server answered, and with no success."""

    def __init__(
        self,
        status: int,
        message: str,
        retry_after_s: float | None = None,
        *,
        reason: str = "",
        about: tuple[str, str] = ("", ""),
    ) -> None:
        """``reason``: the Status's word, such as ``NotFound``, empty without a Status; ``about``: resource and name."""
        self.status = status
        self.said = plain(message)
        """All of the message, to be understood; it may be long."""
        self.message = shortened(self.said, _LONGEST_MESSAGE)
        """The message, to be told: at most 1000 characters."""
        super().__init__(self.message)
        self.retry_after_s = retry_after_s
        self.reason = reason
        self.about = about

    @property
    def is_missing(self) -> bool:
        """Whether the API server itself says that something is not there."""
        return self.status == 404 and self.reason == "NotFound"

    @property
    def is_managed_elsewhere(self) -> bool:
        """Whether a server-side apply was refused for fields that others set, and not because they were quicker."""
        return self.status == 409 and self.said.startswith("Apply failed with ")

    def misses(self, resource: str, name: str) -> bool:
        """Whether it is this object that is not there, as far as the Status tells."""
        kind, called = self.about
        return self.is_missing and kind in {"", resource} and called in {"", name}


def refusal(error: HttpStatusError) -> Exception:
    """What a call ended with: `RefusedError` for the API server's word, else `ProviderUnavailableError`."""
    status = _status(error.body)
    certain = bool(status) or error.status in _WITHOUT_STATUS
    if not certain or not 400 <= error.status < 500 or error.status == 408:
        return ProviderUnavailableError(error.message, retry_after_s=error.retry_after_s)
    details = status.get("details")
    given = details if is_json(details) else {}
    return RefusedError(
        error.status,
        str(status.get("message") or error.message),
        error.retry_after_s,
        reason=str(status.get("reason") or ""),
        about=(str(given.get("kind") or ""), str(given.get("name") or "")),
    )


def as_provider_error(refused: RefusedError, what: str) -> ProviderError:
    """A refusal that nothing else is known of: an operator may set it right, and nothing is given up for it."""
    said = refused.said.rstrip(": ")  # what an apply would make is forbidden without a word of why
    # Admission forbids, too, and whatever it says of the object no role would change.
    by_role = " cannot " in said or said != refused.said or not refused.reason
    hint = "; see the role in docs/kubernetes" if refused.status == 401 or (refused.status == 403 and by_role) else ""
    reasons = {401: "UNAUTHORIZED", 403: "FORBIDDEN", 429: "RATE_LIMITED"}
    return ProviderUnavailableError(
        f"kubernetes cannot {what}: {shortened(said, _LONGEST_MESSAGE)}{hint}",
        reason=reasons.get(refused.status, "PROVIDER_UNAVAILABLE"),
        retry_after_s=refused.retry_after_s,
    )


def _status(body: str) -> Json:
    """The Status object in an answer; empty when it is none."""
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return _cut_off(body) if _CUT_OFF.match(body) else {}
    return found if is_json(found) and found.get("kind") == "Status" else {}


def _cut_off(body: str) -> Json:
    """The fields of a Status whose end is missing, as far as they are there."""
    matches = {key: re.search(f'"{key}"{_TEXT}', body) for key in ("message", "reason")}
    fields: Json = {key: json.loads(f'{match[1]}"', strict=False) for key, match in matches.items() if match}
    return {"kind": "Status"} | fields

"""Every call has a request id: the caller's ``x-request-id``, or a new one; it stands in each log line of the call."""

from __future__ import annotations

import re

from orchestration.service.ids import new_id
from orchestration.service.logging import request_id
from orchestration.service.rpc.interceptors.base import Context, RpcCall, Stage

HEADER = "x-request-id"
_ACCEPTED = re.compile(r"[\x21-\x7e]{1,128}")


def request_id_of(context: Context) -> str:
    """The id that the call was given, a new one when it failed before it had any."""
    for key, value in context.trailing_metadata() or ():
        if key == HEADER:
            return str(value)
    return new_id()


class RequestIdStage(Stage):
    """Gives the call its id and sends it back as trailing metadata."""

    def begin(self, call: RpcCall) -> None:
        """Note the id for the call's log lines and for the caller."""
        given = _requested(call.context) or new_id()
        # Never reset: each call sets it anew, and a stream may be closed from another context than it was opened in.
        request_id.set(given)
        call.context.set_trailing_metadata(((HEADER, given),))


def _requested(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == HEADER and isinstance(value, str) and _ACCEPTED.fullmatch(value):
            return value
    return ""

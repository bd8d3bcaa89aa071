"""What is done to the request message itself: the idempotency key is filled in, and its rules are checked.

A stream's messages are the handler's own business.
"""

from __future__ import annotations

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message

from orchestration.service.errors import InvalidArgumentError, Violation
from orchestration.service.rpc.interceptors.base import RpcCall, Stage
from orchestration.service.rpc.validation import check

IDEMPOTENCY_KEY = "idempotency-key"


class IdempotencyKeyStage(Stage):
    """Fills ``request_id`` from the ``idempotency-key`` metadata (REST: the ``Idempotency-Key`` header).

    On requests without the field the key changes nothing: reads are idempotent as they are.
    """

    def of(self, method: str, *, streaming: bool) -> Stage | None:
        """Itself for methods whose requests have the field."""
        service, _, name = method[1:].partition("/")
        try:
            found: MethodDescriptor = Default().FindMethodByName(f"{service}.{name}")
        except KeyError:
            return None
        return self if "request_id" in found.input_type.fields_by_name else None

    def begin(self, call: RpcCall) -> None:
        """Fill the field in. Raises `InvalidArgumentError` when the request holds another one already."""
        request = call.request
        if not isinstance(request, Message):
            return
        for name, value in call.context.invocation_metadata() or ():
            if name == IDEMPOTENCY_KEY:
                key = value if isinstance(value, str) else value.decode("utf-8", "replace")
                given: str = getattr(request, "request_id", "")
                if given and given != key:
                    text = f"is {given!r}, and the Idempotency-Key header is {key!r}; send one, or the same in both"
                    raise InvalidArgumentError(Violation("request_id", text))
                setattr(request, "request_id", key)  # noqa: B010  the message's class is not known here


class ValidationStage(Stage):
    """Checks the request against the rules that stand in the protos."""

    def begin(self, call: RpcCall) -> None:
        """Raise `InvalidArgumentError` naming every field that breaks a rule."""
        if isinstance(call.request, Message):
            check(call.request)

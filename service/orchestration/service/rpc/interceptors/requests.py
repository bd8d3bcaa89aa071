"""What is done to the request message itself: the idempotency key is filled in, and its rules are checked."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message
from grpc_interceptor.server import AsyncServerInterceptor

from orchestration.service.errors import InvalidArgumentError, Violation
from orchestration.service.rpc.interceptors.base import Context
from orchestration.service.rpc.validation import check

IDEMPOTENCY_KEY = "idempotency-key"


class _RequestInterceptor(AsyncServerInterceptor):
    """Does something to a single request before the handler; a stream's messages are the handler's own business."""

    @abc.abstractmethod
    def apply(self, request: Message, context: Context) -> None:
        """Read or change the request; raise to refuse it."""

    async def intercept(
        self, method: Callable[..., Any], request_or_iterator: Any, context: Context, method_name: str
    ) -> Any:
        """Apply to the request, then run the next in the chain."""
        if isinstance(request_or_iterator, Message):
            self.apply(request_or_iterator, context)
        response = method(request_or_iterator, context)
        return response if hasattr(response, "__aiter__") else await response


class IdempotencyKeyInterceptor(_RequestInterceptor):
    """Fills ``request_id`` from the ``idempotency-key`` metadata (REST: the ``Idempotency-Key`` header).

    On requests without the field the key changes nothing: reads are idempotent as they are.
    """

    def apply(self, request: Message, context: Context) -> None:
        """Fill the field in. Raises `InvalidArgumentError` when the request holds another one already."""
        if "request_id" not in request.DESCRIPTOR.fields_by_name:
            return
        for name, value in context.invocation_metadata() or ():
            if name == IDEMPOTENCY_KEY:
                key = value if isinstance(value, str) else value.decode("utf-8", "replace")
                given: str = getattr(request, "request_id", "")
                if given and given != key:
                    text = f"is {given!r}, and the Idempotency-Key header is {key!r}; send one, or the same in both"
                    raise InvalidArgumentError(Violation("request_id", text))
                setattr(request, "request_id", key)  # noqa: B010  the message's class is not known here


class ValidationInterceptor(_RequestInterceptor):
    """Checks the request against the rules that stand in the protos."""

    def apply(self, request: Message, context: Context) -> None:
        """Raise `InvalidArgumentError` naming every field that breaks a rule."""
        check(request)

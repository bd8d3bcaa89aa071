"""Whatever a call raises leaves as a status with details, and never with its text."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
import structlog

from orchestration.service.rpc.errors import failure_of, internal_failure
from orchestration.service.rpc.interceptors.base import RpcCall
from orchestration.service.rpc.interceptors.request_id import request_id_of

log = structlog.get_logger(__name__)


async def recover(error: BaseException, call: RpcCall) -> NoReturn:
    """End the call with the error's status; an unexpected one becomes INTERNAL, with a correlation id for the log.

    A cancellation, and what a handler has aborted with itself, go on as they are.
    """
    if not isinstance(error, Exception) or isinstance(error, grpc.aio.AbortError):
        raise error
    context = call.context
    failure = failure_of(error)
    if failure is None:
        correlation_id = request_id_of(context)
        log.error("unexpected error", method=call.method, correlation_id=correlation_id, exc_info=error)
        failure = internal_failure(correlation_id)
    metadata: tuple[Any, ...] = (*(context.trailing_metadata() or ()), *failure.trailing_metadata())
    await context.abort(failure.code, failure.message, metadata)

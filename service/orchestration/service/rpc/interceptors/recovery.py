"""The outermost interceptor: whatever a call raises leaves as a status with details, and never with its text."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import grpc
import structlog

from orchestration.service.rpc.errors import failure_of, internal_failure
from orchestration.service.rpc.interceptors.base import Context, ScopedInterceptor
from orchestration.service.rpc.interceptors.request_id import request_id_of

log = structlog.get_logger(__name__)


class _Recovery:
    __slots__ = ("_context", "_method")

    def __init__(self, method: str, context: Context) -> None:
        self._method = method
        self._context = context

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, grpc.aio.AbortError):
            return
        failure = failure_of(error)
        if failure is None:
            correlation_id = request_id_of(self._context)
            log.error("unexpected error", method=self._method, correlation_id=correlation_id, exc_info=error)
            failure = internal_failure(correlation_id)
        metadata: tuple[Any, ...] = (*(self._context.trailing_metadata() or ()), *failure.trailing_metadata())
        await self._context.abort(failure.code, failure.message, metadata)


class RecoveryInterceptor(ScopedInterceptor):
    """Turns exceptions into statuses; an unexpected one becomes INTERNAL with a fixed sentence and a correlation id."""

    def scope(self, method: str, request: Any, context: Context) -> _Recovery:
        """What catches the exception."""
        return _Recovery(method, context)

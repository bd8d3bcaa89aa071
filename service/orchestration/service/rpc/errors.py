"""Errors change language here, once: exceptions become gRPC statuses with AIP-193 details."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from orchestration.service import errors
from orchestration.service.engines.base import EngineConfigurationError
from orchestration.service.logs import store as log_store
from orchestration.service.providers import base as providers
from orchestration.store import errors as store_errors

DOMAIN = "orchestration"
DETAILS_KEY = "grpc-status-details-bin"

_CODES: dict[type[errors.OrchestrationError], grpc.StatusCode] = {
    errors.InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.PreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ConflictError: grpc.StatusCode.ABORTED,
    errors.OutOfRangeError: grpc.StatusCode.OUT_OF_RANGE,
    errors.ExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineError: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
}

_RETRY_S = 5.0
_RETRY_AFTER_S = {
    "DATABASE_LOCKED": 2.0,
    "DATABASE_SLOW": 2.0,
    "DATABASE_UNREACHABLE": 5.0,
    "DATABASE_GONE": 15.0,
    "DISK_FULL": 30.0,
    "DATABASE_READ_ONLY": 30.0,
}
"""When to try again: soon where it passes by itself, later where somebody has to do something first."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A status as it leaves the gateway."""

    code: grpc.StatusCode
    message: str
    details: Sequence[Message] = field(default_factory=list[Message])

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """``grpc-status-details-bin`` with the whole status."""
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for detail in self.details:
            packed = Any()
            packed.Pack(detail)
            status.details.append(packed)
        return ((DETAILS_KEY, status.SerializeToString()),)


def failure_of(error: Exception) -> Failure | None:
    """The status of an error that is told to callers; None for an unexpected one, whose text must not leave."""
    known = _translate(error)
    if known is None:
        return None
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=known.reason, domain=DOMAIN, metadata=dict(known.metadata))
    ]
    details.extend(_extra_details(known))
    return Failure(_code_of(known), known.message, details)


def internal_failure(correlation_id: str) -> Failure:
    """The status of an unexpected error: a fixed sentence and an id that also stands in the log."""
    message = f"an internal error occurred; the log has it under correlation id {correlation_id}"
    info = error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN, metadata={"correlation_id": correlation_id})
    return Failure(grpc.StatusCode.INTERNAL, message, [info])


def _code_of(error: errors.OrchestrationError) -> grpc.StatusCode:
    return next(_CODES[cls] for cls in type(error).__mro__ if cls in _CODES)


def _extra_details(error: errors.OrchestrationError) -> list[Message]:
    match error:
        case errors.InvalidArgumentError():
            violations = [
                error_details_pb2.BadRequest.FieldViolation(field=item.field, description=item.description)
                for item in error.violations
            ]
            return [error_details_pb2.BadRequest(field_violations=violations)]
        case errors.NotFoundError():
            return [error_details_pb2.ResourceInfo(resource_type=error.resource_type, resource_name=error.name)]
        case errors.UnavailableError():
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(int(error.retry_after_s * 1000))
            return [retry]
        case _:
            return []


def _translate(error: Exception) -> errors.OrchestrationError | None:
    """The same error in the language of use cases, for those that come from below them."""
    match error:
        case errors.OrchestrationError():
            return error
        case store_errors.StaleRecordError():
            return errors.ConflictError(
                "CONCURRENT_CHANGE", "the resource was changed meanwhile; read it and try again"
            )
        case store_errors.StoreUnavailableError():
            return errors.UnavailableError(
                error.reason,
                f"the database cannot be used now: {error}",
                retry_after_s=_RETRY_AFTER_S.get(error.reason, _RETRY_S),
            )
        case log_store.InvalidCursorError():
            return errors.InvalidArgumentError(errors.Violation("cursor", str(error)))
        case log_store.LogStoreError():
            return errors.UnavailableError("LOG_STORE_UNAVAILABLE", str(error), retry_after_s=_RETRY_S)
        case EngineConfigurationError():
            return errors.InvalidArgumentError(
                *(errors.Violation(issue.field, issue.description) for issue in error.issues),
                reason="INVALID_CONFIGURATION",
            )
        case providers.ProviderError():
            if not error.retryable:
                return errors.PreconditionError(error.reason, error.message)
            return errors.UnavailableError(error.reason, error.message, retry_after_s=error.retry_after_s or 30.0)
        case TimeoutError():
            return errors.DeadlineError("DEADLINE_EXCEEDED", "the request took longer than the time it had")
        case _:
            return None

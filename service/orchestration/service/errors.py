"""Every error that a use case raises, in one tree.

::

    OrchestrationError            code in gRPC terms
    ├── InvalidArgumentError      INVALID_ARGUMENT     the request is wrong by itself; names every field
    ├── NotFoundError             NOT_FOUND            names the resource
    ├── AlreadyExistsError        ALREADY_EXISTS
    ├── PreconditionError         FAILED_PRECONDITION  the request is right, the state of things is not
    ├── ConflictError             ABORTED              somebody else was faster; read again and retry
    ├── OutOfRangeError           OUT_OF_RANGE         a resume token that is too old
    ├── ExhaustedError            RESOURCE_EXHAUSTED   a limit of this gateway
    ├── UnavailableError          UNAVAILABLE          try again later
    ├── DeadlineError             DEADLINE_EXCEEDED
    ├── UnauthenticatedError      UNAUTHENTICATED      who calls is not known
    └── PermissionDeniedError     PERMISSION_DENIED    who calls may not do this

    StartError                    the process cannot start; never reaches a caller of the API

Use cases raise these and nothing else on purpose; `orchestration.service.rpc.errors` turns them, and the store's and
the providers' errors, into gRPC statuses in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that is wrong."""

    field: str
    """Path of the field, such as ``configuration.port``."""
    description: str
    """What was wrong and what would be right."""


class OrchestrationError(Exception):
    """What a use case raises when it cannot do what was asked.

    `reason` is UPPER_SNAKE and at most 63 characters; every value that stands in the message stands in `metadata` too.
    """

    def __init__(self, reason: str, message: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = metadata or {}


class InvalidArgumentError(OrchestrationError):
    """The request is wrong whatever the state of things is."""

    def __init__(self, *violations: Violation, reason: str = "INVALID_FIELD") -> None:
        if not violations:
            raise ValueError("an invalid argument names at least one field")
        text = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        super().__init__(reason, text, {"field": violations[0].field})
        self.violations = violations


class NotFoundError(OrchestrationError):
    """A resource that the request names is not there."""

    def __init__(self, resource_type: str, name: str, *, reason: str = "", message: str = "") -> None:
        super().__init__(
            reason or f"{resource_type.upper()}_NOT_FOUND",
            message or f"{resource_type} {name!r} does not exist",
            {resource_type: name},
        )
        self.resource_type = resource_type
        self.name = name


class AlreadyExistsError(OrchestrationError):
    """What the request would make is there already, and differs."""


class PreconditionError(OrchestrationError):
    """The state of things does not allow what was asked."""


class ConflictError(OrchestrationError):
    """Somebody else changed the resource first."""


class OutOfRangeError(OrchestrationError):
    """A token points before what is still kept."""


class ExhaustedError(OrchestrationError):
    """A limit of this gateway is reached."""


class UnavailableError(OrchestrationError):
    """What was asked cannot be done now; nothing was changed."""

    def __init__(
        self, reason: str, message: str, metadata: Mapping[str, str] | None = None, *, retry_after_s: float = 1.0
    ) -> None:
        super().__init__(reason, message, metadata)
        self.retry_after_s = retry_after_s


class DeadlineError(OrchestrationError):
    """The time that the caller or the gateway allowed has run out."""


class UnauthenticatedError(OrchestrationError):
    """The call came without a key that is let in."""


class PermissionDeniedError(OrchestrationError):
    """The caller's role does not allow the call."""


class StartError(Exception):
    """The process cannot start with what it was given; the message says why and what would help."""

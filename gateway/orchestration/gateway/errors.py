"""The exceptions of the gateway.

GatewayError
├── RuleError          an http rule that cannot be served; stops the start
├── RequestError       a request that the gateway itself refuses, with its HTTP status
└── UpstreamError      an RPC that ended with another status than OK
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import grpc

HTTP_OF_CODE: Final[Mapping[int, int]] = {
    0: 200,
    1: 499,
    2: 500,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    13: 500,
    14: 503,
    15: 500,
    16: 401,
}
"""HTTP status of each gRPC code, as google/rpc/code.proto has it."""

CODE_NAMES: Final[Mapping[int, str]] = {code.value[0]: code.name for code in grpc.StatusCode}


class GatewayError(Exception):
    """Whatever the gateway raises of its own."""


class RuleError(GatewayError):
    """An http rule is malformed, ambiguous or does not fit its messages; names the method."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with a request."""

    field: str
    """Path of the field as the caller wrote it: a JSON path, a query parameter, a header."""
    description: str


class RequestError(GatewayError):
    """A request that never reaches the RPC."""

    def __init__(
        self,
        http_status: int,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.code = code
        self.reason = reason
        """UPPER_SNAKE_CASE, for programs."""
        self.message = message
        """For people."""
        self.metadata: Mapping[str, str] = metadata or {}
        self.violations = tuple(violations)
        self.headers: Mapping[str, str] = headers or {}


def invalid(reason: str, violations: Sequence[Violation], metadata: Mapping[str, str] | None = None) -> RequestError:
    """A 400 that names what is wrong; the message is made of the violations."""
    message = "; ".join(f"{each.field}: {each.description}" if each.field else each.description for each in violations)
    return RequestError(
        400, grpc.StatusCode.INVALID_ARGUMENT, reason, message, metadata=metadata, violations=violations
    )


class UpstreamError(GatewayError):
    """The RPC ended with a status that is not OK."""

    def __init__(self, code: int, message: str, status: bytes | None = None) -> None:
        super().__init__(message)
        self.code = code
        """Number of the gRPC status; servers may send numbers that gRPC does not define."""
        self.message = message
        self.status = status
        """A serialized google.rpc.Status from ``grpc-status-details-bin``, where there was one."""
        self.headers: Sequence[tuple[str, str]] = ()
        """What the service's metadata adds to the answer's headers."""

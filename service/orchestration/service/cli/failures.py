"""gRPC statuses as one line for a person, with the exit code that stands for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from orchestration.service.cli.errors import CliError, ExitCode

_DETAILS_KEY = "grpc-status-details-bin"

Detail = TypeVar("Detail", bound=Message)

_EXIT_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: ExitCode.USAGE,
    grpc.StatusCode.OUT_OF_RANGE: ExitCode.USAGE,
    grpc.StatusCode.NOT_FOUND: ExitCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION: ExitCode.CONFLICT,
    grpc.StatusCode.ALREADY_EXISTS: ExitCode.CONFLICT,
    grpc.StatusCode.ABORTED: ExitCode.CONFLICT,
    grpc.StatusCode.UNAUTHENTICATED: ExitCode.DENIED,
    grpc.StatusCode.PERMISSION_DENIED: ExitCode.DENIED,
    grpc.StatusCode.UNAVAILABLE: ExitCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: ExitCode.UNAVAILABLE,
}


def api_error(error: grpc.RpcError, server: str) -> CliError:
    """What a failed call means to the person who asked for it."""
    if not isinstance(error, grpc.Call):
        return CliError(str(error))
    code, text = error.code(), error.details() or "no message"
    status = _status(error)
    reasons = list(_unpacked(status, error_details_pb2.ErrorInfo))
    if code is grpc.StatusCode.UNAVAILABLE and not reasons:
        why = text.rpartition(": ")[2]
        return CliError(f"cannot reach {server}: {why}; is the server running?", ExitCode.UNAVAILABLE)
    line = f"{code.name}: {text}"
    for request in _unpacked(status, error_details_pb2.BadRequest):
        for violation in request.field_violations:
            if violation.description not in line:
                line += f"; {violation.field}: {violation.description}"
    if reasons:
        line += f" [{reasons[0].reason}]"
    return CliError(line, _EXIT_CODES.get(code, ExitCode.ERROR))


def _status(call: grpc.Call) -> status_pb2.Status:
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break  # Not ours to repair: code and message still stand.
    return status_pb2.Status()


def _unpacked(status: status_pb2.Status, kind: type[Detail]) -> Iterator[Detail]:
    for packed in status.details:
        detail = kind()
        if packed.Unpack(detail):
            yield detail

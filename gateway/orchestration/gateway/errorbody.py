"""Errors as JSON: AIP-193's envelope, or a flat google.rpc.Status."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from orchestration.gateway.codec import Codec
from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.errors import CODE_NAMES, HTTP_OF_CODE, RequestError, UpstreamError
from orchestration.gateway.values import JsonValue

_TYPES: Final = "type.googleapis.com/google.rpc."
_HEADERS: Final[Mapping[int, Mapping[str, str]]] = {
    grpc.StatusCode.UNAVAILABLE.value[0]: {"Retry-After": "1"},
    grpc.StatusCode.UNAUTHENTICATED.value[0]: {"WWW-Authenticate": "Bearer"},
}
"""What HTTP wants beside the status, where the error itself does not say more."""


class ErrorWriter:
    """Writes errors in the configured format."""

    def __init__(self, codec: Codec, config: GatewayConfig) -> None:
        self._codec = codec
        self._domain = config.error_domain
        self._flat = config.error_format == "status"

    def write(self, error: RequestError | UpstreamError) -> tuple[int, dict[str, JsonValue], dict[str, str]]:
        """HTTP status, JSON body and headers of an error."""
        if isinstance(error, RequestError):
            body = self._body(error.http_status, error.code.value[0], error.message, self._own_details(error))
            return error.http_status, body, dict(error.headers)
        http_status = HTTP_OF_CODE.get(error.code, 500)
        details, headers = self._details(error.status)
        if error.code in _HEADERS:
            headers = {**_HEADERS[error.code], **headers}
        if not any(isinstance(each, dict) and each.get("@type") == _TYPES + "ErrorInfo" for each in details):
            details.insert(0, self._info(CODE_NAMES.get(error.code, "UNKNOWN"), {}))
        return http_status, self._body(http_status, error.code, error.message, details), headers

    def _body(self, http_status: int, code: int, message: str, details: list[JsonValue]) -> dict[str, JsonValue]:
        if self._flat:
            return {"code": code, "message": message, "details": details}
        name = CODE_NAMES.get(code, "UNKNOWN")
        return {"error": {"code": http_status, "status": name, "message": message, "details": details}}

    def _own_details(self, error: RequestError) -> list[JsonValue]:
        info = self._info(error.reason, error.metadata)
        if not error.violations:
            return [info]
        violations: list[JsonValue] = [
            {"field": each.field, "description": each.description} for each in error.violations
        ]
        return [info, {"@type": _TYPES + "BadRequest", "field_violations": violations}]

    def _info(self, reason: str, metadata: Mapping[str, str]) -> JsonValue:
        """AIP-193 wants one in every error."""
        return {"@type": _TYPES + "ErrorInfo", "reason": reason, "domain": self._domain, "metadata": dict(metadata)}

    def _details(self, serialized: bytes | None) -> tuple[list[JsonValue], dict[str, str]]:
        """The details of a serialized google.rpc.Status, and the headers that follow from them."""
        if not serialized:
            return [], {}
        try:
            status = status_pb2.Status.FromString(serialized)
        except DecodeError:  # the status itself is known all the same
            return [], {}
        headers: dict[str, str] = {}
        for each in status.details:
            if each.type_url == _TYPES + "RetryInfo":
                headers.update(_retry_after(each.value))
        return [self._codec.any_to_value(each.type_url, each.value) for each in status.details], headers


def _retry_after(serialized: bytes) -> dict[str, str]:
    """The header that a google.rpc.RetryInfo stands for; none where its bytes are broken."""
    try:
        delay = error_details_pb2.RetryInfo.FromString(serialized).retry_delay
    except DecodeError:  # the error itself is known all the same
        return {}
    return {"Retry-After": str(max(0, math.ceil(delay.seconds + delay.nanos / 1e9)))}


def dump(value: JsonValue) -> bytes:
    """Compact JSON. Bytes of headers that are no UTF-8 stand in strings as half characters: they become ``?``."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")

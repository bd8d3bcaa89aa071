"""What providers raise reaches callers in words, not as an internal error."""

from __future__ import annotations

import grpc
import pytest

from orchestration.service.providers.base import ProviderError, ProviderUnavailableError
from orchestration.service.rpc.errors import failure_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ProviderUnavailableError("out of reach"), grpc.StatusCode.UNAVAILABLE),
        (ProviderError("QUOTA", "out of reach", retryable=True), grpc.StatusCode.UNAVAILABLE),
        (ProviderError("FORBIDDEN", "out of reach", retryable=False), grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
def test_a_provider_s_error_is_told(error: ProviderError, code: grpc.StatusCode) -> None:
    failure = failure_of(error)
    assert failure is not None
    assert (failure.code, failure.message) == (code, "out of reach")

"""How many calls one gateway serves at once."""

from __future__ import annotations

from orchestration.service.errors import ExhaustedError
from orchestration.service.rpc.access import OPEN
from orchestration.service.rpc.interceptors.base import RpcCall, Stage

MAX_OPEN = 200
"""Calls of health and reflection, streams too, that are served at once."""


class ConcurrencyStage(Stage):
    """Refuses a call when as many are being served as this gateway takes.

    Unary calls, streams, and what anybody may call without a key are counted apart: strangers keep no caller out.
    """

    def __init__(self, max_unary: int, max_streams: int) -> None:
        self._unary = _Slots("calls", max_unary)
        self._streams = _Slots("streams", max_streams)
        self._open = _Slots("calls of health and reflection", MAX_OPEN)

    def of(self, method: str, *, streaming: bool) -> Stage | None:
        """The places that calls of this method take."""
        if method.startswith(OPEN):
            return self._open
        return self._streams if streaming else self._unary


class _Slots(Stage):
    def __init__(self, what: str, maximum: int) -> None:
        self._what = what
        self._maximum = maximum
        self._used = 0

    def begin(self, call: RpcCall) -> None:
        """Take a place. Raises `ExhaustedError` when there is none."""
        if self._used >= self._maximum:
            message = f"this gateway serves {self._maximum} {self._what} at once and all are taken; try again later"
            raise ExhaustedError("TOO_MANY_CALLS", message, {"limit": str(self._maximum)})
        self._used += 1

    def end(self, call: RpcCall, error: BaseException | None) -> None:
        """Give the place back."""
        self._used -= 1

"""Connections whose clients take nothing of what is sent to them: closed, so that they hold no call and no memory."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import Final

log = logging.getLogger(__name__)

_LOOKS: Final = 4
"""How often a connection is looked at within its limit. Each look is one of the event loop's rounds at least, so that
a process that stood still takes no client for a stalled one."""

_AT_ONCE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: what is not sent yet is dropped when the socket is closed."""


class StallGuard:
    """Watches what waits to be sent on one connection, while something does.

    Args:
        transport: The connection.
        limit_s: How long the client may take nothing, in seconds, before it is cut off; None: for ever.
    """

    def __init__(self, transport: asyncio.Transport, limit_s: float | None) -> None:
        self._transport = transport
        self._limit_s = limit_s
        self._waiting = 0
        self._looks = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Watch from now on, if there is something to send."""
        self.end()
        self._waiting, self._looks = self._transport.get_write_buffer_size(), 0
        if self._waiting and self._limit_s is not None:
            self._watch(self._limit_s)

    def end(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, limit_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(limit_s / _LOOKS, self._look, limit_s)

    def _look(self, limit_s: float) -> None:
        left = self._transport.get_write_buffer_size()
        taken = left < self._waiting
        # A little is added while the writer does not know yet that it has to wait.
        self._waiting, self._looks = left, 0 if taken else self._looks + 1
        if self._looks < _LOOKS:
            self._watch(limit_s)
            return
        self._timer = None
        peer = self._transport.get_extra_info("peername")
        log.info("%s took nothing of %d bytes for %g s: its connection is cut off", peer, left, limit_s)
        connection = self._transport.get_extra_info("socket")
        if connection is not None:  # else the kernel would go on trying to send what it holds itself
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._transport.abort()

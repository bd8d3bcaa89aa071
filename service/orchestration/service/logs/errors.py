"""What can go wrong with the log store."""

from __future__ import annotations


class LogStoreError(Exception):
    """The lines could not be written or read: the disk is full, it failed, or the store is closed.

    What was kept before stays as it was, and an append that failed left none of its lines.
    """


class LogBusyError(LogStoreError):
    """Another process holds the log's lock just now; nothing was changed."""


class SourceMovedError(LogStoreError):
    """The batch does not follow on what is kept of its source: another process has copied from it meanwhile."""

    def __init__(self, source: str, given: str, reached: str) -> None:
        super().__init__(f"lines of {source!r} are kept up to {reached!r}, and these follow on {given!r}")
        self.reached = reached
        """Where to read on."""


class InvalidCursorError(ValueError):
    """A cursor that was not made here, or belongs to another deployment's log; the text says so."""

"""What can go wrong with the log store."""

from __future__ import annotations


class LogStoreError(Exception):
    """The lines could not be written or read: the disk is full, it failed, or the store is closed.

    What was kept before stays as it was, and an append that failed left none of its lines.
    """


class InvalidCursorError(ValueError):
    """A cursor that was not made here, or belongs to another deployment's log; the text says so."""

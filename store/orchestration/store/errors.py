"""What can go wrong in the store. No exception of a database driver leaves it; each becomes one of these::

StoreError
+-- StaleRecordError         the row was changed or deleted since it was loaded
+-- DuplicateError           a unique constraint
+-- BrokenReferenceError     a reference to a row that is not there, or a deletion that would leave one
+-- LeaseLostError           the work's lease is held by someone else, or expired
+-- StoreUnavailableError    the database cannot be written or read now; the same again may succeed
+-- StoreOpenError           the database cannot be opened at all; nothing in it was changed
"""

from __future__ import annotations


class StoreError(Exception):
    """Base of everything that the store raises."""


class StaleRecordError(StoreError):
    """An update or deletion of a row whose revision is no longer the one that was loaded."""

    def __init__(self, kind: str, id: str) -> None:  # noqa: A002 - the name that records use
        super().__init__(f"{kind} {id} was changed or deleted since it was loaded")
        self.kind = kind
        self.id = id


class DuplicateError(StoreError):
    """A unique constraint would be broken.

    ``constraint`` is its logical name: ``pool_name``, ``model_version``, ``node_instance``, ``instance_name``,
    ``answer``, or ``id`` when a record with that id is there already.
    """

    def __init__(self, constraint: str, message: str = "") -> None:
        super().__init__(message or f"{constraint} is taken already")
        self.constraint = constraint


class BrokenReferenceError(StoreError):
    """A record names a parent that is not there, or a record with children would be deleted."""


class LeaseLostError(StoreError):
    """The lease that guards the work is not held any more: its row has another token, is gone, or expired."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the lease {name!r} was lost")
        self.name = name


class StoreUnavailableError(StoreError):
    """The database did not take or give the data now. Nothing was applied; a retry makes sense.

    ``reason``: ``DATABASE_LOCKED`` (another process held it beyond the busy timeout), ``DATABASE_SLOW`` (the writes
    before it took too long), ``DATABASE_GONE`` (its file was moved away, deleted or replaced), ``DISK_FULL``,
    ``DATABASE_READ_ONLY``, or ``DATABASE_UNREACHABLE`` (I/O error, connection lost, no answer in time). After a
    connection or a file that was lost during a commit the change may stand all the same; the index then shows it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StoreOpenError(StoreError):
    """The database cannot be opened. The message names it and what to do; nothing in it was changed."""

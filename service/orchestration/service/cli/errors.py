"""What a command ends with when it fails: one clear line and a documented exit code."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command."""

    OK = 0
    ERROR = 1
    """The server, or what was asked of it, failed."""
    USAGE = 2
    """The command line, or a value in the request, is wrong."""
    NOT_FOUND = 3
    CONFLICT = 4
    """The state of things does not allow it: failed precondition, exists already, changed meanwhile."""
    UNAVAILABLE = 5
    """The server could not be reached, or did not answer in time."""
    DENIED = 6
    """The key is missing, wrong, or does not allow it."""
    INTERRUPTED = 130
    """Ctrl-C."""


class CliError(Exception):
    """Ends a command: `message` goes to standard error, the process exits with `code`."""

    def __init__(self, message: str, code: ExitCode = ExitCode.ERROR) -> None:
        super().__init__(message)
        self.message = message
        self.code = code

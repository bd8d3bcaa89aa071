"""Field masks of update requests."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from orchestration.service.cli.errors import CliError, ExitCode

_NOT_SETTABLE = frozenset({"update_mask", "etag", "request_id", "pool_id", "deployment_id"})


def mask(changes: Message, clear: Sequence[str] | None) -> FieldMask:
    """Names the fields that ``changes`` sets and those of ``--clear``; raises `CliError` for nothing, or no field."""
    paths = [field.name for field, _ in changes.ListFields()]
    settable = [field.name for field in changes.DESCRIPTOR.fields if field.name not in _NOT_SETTABLE]
    for name in clear or ():
        if name not in settable:
            raise CliError(f'--clear: no field "{name}"; there are {", ".join(settable)}', ExitCode.USAGE)
        if name in paths:
            raise CliError(f"--clear: {name} is also given a value", ExitCode.USAGE)
    paths.extend(clear or ())
    if not paths:
        raise CliError("nothing to change: give at least one option", ExitCode.USAGE)
    return FieldMask(paths=paths)

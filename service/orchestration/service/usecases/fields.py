"""Which fields of a partial update are to be set."""

from __future__ import annotations

from collections.abc import Collection

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from orchestration.service.errors import InvalidArgumentError, Violation


def fields_to_set(request: Message, mask: FieldMask, updatable: Collection[str]) -> frozenset[str]:
    """The names in `updatable` that the mask names; those that the request holds where it names none (AIP-134).

    Raises `InvalidArgumentError` for a path that cannot be updated, and for a field that the request holds and the mask
    leaves out: it would be silently ignored.
    """
    held = {field.name for field, _ in request.ListFields() if field.name in updatable}
    if not mask.paths:
        return frozenset(held)
    paths = set(mask.paths)
    unknown = sorted(paths - set(updatable))
    if unknown:
        allowed = ", ".join(sorted(updatable))
        raise InvalidArgumentError(
            *(Violation("update_mask", f"{path!r} cannot be updated; these can: {allowed}") for path in unknown)
        )
    left_out = sorted(held - paths)
    if left_out:
        raise InvalidArgumentError(
            *(
                Violation(name, "is given but not named in update_mask; name it there or leave it out")
                for name in left_out
            )
        )
    return frozenset(paths)

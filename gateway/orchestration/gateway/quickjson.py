"""JSON texts that nothing is wrong with, and most are such: read in native code, several times as fast.

Whatever is not plainly right is left to the reader that says what is wrong, and where.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

import jiter
from google.protobuf.descriptor import Descriptor

from orchestration.gateway.schema import ANY, reachable
from orchestration.gateway.values import JsonValue

_SPACED: Final = (b" :", b"\n:", b"\t:", b"\r:")


class QuickReader:
    """Reads the JSON of one message type."""

    def __init__(self, message: Descriptor) -> None:
        messages = reachable(message)
        self._has_any = any(each.full_name == ANY for each in messages)
        self._telling: Final = frozenset(_telling(messages))

    def read(self, data: bytes) -> JsonValue | None:
        """The value of a text; None where it is not plainly right, or is no object."""
        # Without escapes, and with no space before a colon, `":` ends each key, and is nowhere else but where a string
        # begins with a colon: there are never fewer than keys, and the keys that were read tell whether one was lost,
        # that of a value which another has taken the place of. To have jiter look for them costs four times the rest.
        unclear = b"\\" in data or any(map(data.__contains__, _SPACED))
        try:
            value: Any = jiter.from_json(data, allow_inf_nan=False, catch_duplicate_keys=unclear)
        except ValueError:
            return None
        if not isinstance(value, dict):
            return None
        keys = self._count_keys(value)
        if keys is None or not (unclear or keys == data.count(b'":')):
            return None
        return cast("JsonValue", value)

    def _count_keys(self, value: Any) -> int | None:
        """How many keys there are in all.

        None where an object may name a field twice in two spellings, or hold an Any, or a number does not fit a double.
        """
        telling, has_any = self._telling, self._has_any
        nested: list[Any] = [value]
        count = 0
        for current in nested:
            values: Iterable[object] = current
            if isinstance(current, dict):
                names = cast("dict[str, Any]", current)
                if not telling.isdisjoint(names) or (has_any and "@type" in names):
                    return None
                values = names.values()
                count += len(names)
            for each in values:
                if isinstance(each, float):
                    if each - each != 0:
                        return None
                elif isinstance(each, (dict, list)):
                    nested.append(each)
        return count


def _telling(messages: list[Descriptor]) -> set[str]:
    """Names without which no object names a field twice: second spellings, and the members of oneofs.

    With none of these, two names of an object are two fields, as no key is there twice.
    """
    names: set[str] = set()
    for message in messages:
        names.update(field.json_name for field in message.fields if field.json_name != field.name)
        for oneof in message.oneofs:
            if len(oneof.fields) > 1:
                for field in oneof.fields:
                    names.update((field.name, field.json_name))
    return names

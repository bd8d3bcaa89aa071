"""One class of records in memory, with sorted lists of ids for each value of each indexed field."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Generic, TypeVar, cast

from orchestration.store.records import Record

R = TypeVar("R", bound=Record)

_COLLECTIONS = (tuple, list, set, frozenset)


def matches(record: Record, equals: Mapping[str, object]) -> bool:
    """Whether a record's fields equal the values; a collection means any of its members."""
    for field, wanted in equals.items():
        value = getattr(record, field)
        if value not in wanted if isinstance(wanted, _COLLECTIONS) else value != wanted:
            return False
    return True


class Table(Generic[R]):
    """Records by id, and the ids by value."""

    def __init__(self, indexed: Sequence[tuple[str, ...]]) -> None:
        self.rows: dict[str, R] = {}
        self.ids: list[str] = []
        # By fields, widest first; a key is the field's value, or the tuple of values where there are several fields.
        self._getters = {fields: attrgetter(*fields) for fields in sorted(indexed, key=len, reverse=True)}
        self._buckets: dict[tuple[str, ...], dict[Any, list[str]]] = {fields: {} for fields in indexed}

    def put(self, record: R) -> None:
        """Add a record, or replace the one with its id."""
        old = self.rows.get(record.id)
        self.rows[record.id] = record
        if old is None:
            _add(self.ids, record.id)
        for fields, getter in self._getters.items():
            key = getter(record)
            if old is not None:
                old_key = getter(old)
                if old_key == key:
                    continue
                self._leave(fields, old_key, record.id)
            _add(self._buckets[fields].setdefault(key, []), record.id)

    def put_again(self, record: R) -> None:
        """Replace a record by one that differs in no indexed field."""
        self.rows[record.id] = record

    def remove(self, id: str) -> None:  # noqa: A002 - the name that records use
        """Remove a record, if it is there."""
        old = self.rows.pop(id, None)
        if old is None:
            return
        _discard(self.ids, id)
        for fields, getter in self._getters.items():
            self._leave(fields, getter(old), id)

    def _leave(self, fields: tuple[str, ...], key: Any, id: str) -> None:  # noqa: A002
        bucket = self._buckets[fields][key]
        _discard(bucket, id)
        if not bucket:
            del self._buckets[fields][key]

    def narrow(self, equals: Mapping[str, object]) -> tuple[Sequence[str], dict[str, object]]:
        """The ids, sorted, that the best index leaves, and the conditions that it does not cover."""
        best: tuple[Sequence[str], dict[str, object]] | None = None
        for fields in self._getters:
            values = [equals.get(field, _COLLECTIONS) for field in fields]
            if any(value is _COLLECTIONS or isinstance(value, _COLLECTIONS) for value in values):
                continue
            ids = self._buckets[fields].get(values[0] if len(values) == 1 else tuple(values), ())
            if best is None or len(ids) < len(best[0]):
                best = ids, {field: value for field, value in equals.items() if field not in fields}
        return best if best is not None else self._narrow_by_members(equals)

    def _narrow_by_members(self, equals: Mapping[str, object]) -> tuple[Sequence[str], dict[str, object]]:
        for field, wanted in equals.items():
            buckets = self._buckets.get((field,))
            if buckets is not None and isinstance(wanted, _COLLECTIONS):
                values = set(cast("Iterable[object]", wanted))
                ids = sorted(key for value in values for key in buckets.get(value, ()))
                return ids, {name: value for name, value in equals.items() if name != field}
        return self.ids, dict(equals)

    def matching(self, ids: Iterable[str], equals: Mapping[str, object]) -> list[R]:
        """The records with these ids that meet the conditions, in the same order."""
        rows = [self.rows[key] for key in ids]
        return [row for row in rows if matches(row, equals)] if equals else rows

    def find(self, equals: Mapping[str, object]) -> list[R]:
        """The records that meet the conditions, ordered by id."""
        bucket = self._buckets.get(tuple(equals))
        if bucket is not None:  # what is asked most often by far: just what there is an index of
            values = tuple(equals.values())
            for value in values:
                if isinstance(value, _COLLECTIONS):
                    break
            else:
                rows = self.rows
                return [rows[key] for key in bucket.get(values[0] if len(values) == 1 else values, ())]
        return self.matching(*self.narrow(equals))


def _add(ids: list[str], id: str) -> None:  # noqa: A002
    if not ids or ids[-1] < id:
        ids.append(id)
    else:
        insort(ids, id)


def _discard(ids: list[str], id: str) -> None:  # noqa: A002
    position = bisect_left(ids, id)
    del ids[position]

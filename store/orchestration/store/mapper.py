"""Records to rows and back, with everything that reflection can tell worked out once per class."""

from __future__ import annotations

import dataclasses
import operator
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import Row, Table, bindparam, insert, select, update

from orchestration.store.records import KINDS, Record
from orchestration.store.tables import TABLES, field_type

R = TypeVar("R", bound=Record)


class Mapper(Generic[R]):
    """Maps one class of records to its table."""

    def __init__(self, cls: type[R], table: Table) -> None:
        self.cls = cls
        self.table = table
        hints = typing.get_type_hints(cls)
        self.fields = tuple(field.name for field in dataclasses.fields(cls))
        self._values: Callable[[R], tuple[Any, ...]] = operator.attrgetter(*self.fields)
        plain = [field_type(hints[name])[0] for name in self.fields]
        self._decoders: list[tuple[int, Callable[[Any], Any]]] = [
            (position, kind) for position, kind in enumerate(plain) if kind is tuple or issubclass(kind, StrEnum)
        ]
        self.select = select(*[table.c[name] for name in self.fields])
        self.insert = insert(table)
        written: dict[str, Any] = {name: bindparam(f"new_{name}") for name in self.fields if name != "id"}
        self.update = (
            update(table)
            .where(table.c.id == bindparam("old_id"), table.c.revision == bindparam("old_revision"))
            .values(written)
        )
        self._written = tuple(f"new_{name}" for name in self.fields)

    def parameters(self, record: R) -> dict[str, Any]:
        """The parameters with which ``insert`` writes a record."""
        return dict(zip(self.fields, self._values(record), strict=True))

    def update_parameters(self, record: R, old_revision: int) -> dict[str, Any]:
        """The parameters with which ``update`` writes a record over the row that has ``old_revision``."""
        parameters = dict(zip(self._written, self._values(record), strict=True))
        parameters["old_id"] = parameters.pop("new_id")
        parameters["old_revision"] = old_revision
        return parameters

    def records(self, rows: Iterable[Row[Any]]) -> list[R]:
        """The records in rows of ``select``."""
        return [self._record(row) for row in rows]

    def _record(self, row: Sequence[Any]) -> R:
        values = list(row)
        for position, decode in self._decoders:
            values[position] = decode(values[position])
        return self.cls(**dict(zip(self.fields, values, strict=True)))


_MAPPERS: Mapping[type[Record], Mapper[Any]] = {cls: Mapper(cls, TABLES[cls]) for cls in KINDS}
CLASSES: Mapping[str, type[Record]] = {cls.kind: cls for cls in KINDS}
"""Class of records by the name of its kind in the change feed."""


def mapper_of(cls: type[R]) -> Mapper[R]:
    """The mapper of a class of records."""
    return typing.cast("Mapper[R]", _MAPPERS[cls])

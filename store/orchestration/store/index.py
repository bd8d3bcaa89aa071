"""The memory index: every record, found by id and by the fields that callers ask for.

Reads are synchronous and never touch the database. The index changes only when a commit is on disk (this process's own
before its writer returns, another's within the poll interval), and by a node's heartbeats.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from orchestration.store.bucket import Table
from orchestration.store.feed import Bell, Feed, Subscription
from orchestration.store.liveness import with_newest_liveness
from orchestration.store.mapper import CLASSES
from orchestration.store.records import KINDS, Change, Deployment, Model, Node, Pool, Record, Replica

R = TypeVar("R", bound=Record)

INDEXED: Mapping[type[Record], tuple[tuple[str, ...], ...]] = {
    Pool: (("owner_id",), ("provider",), ("name", "owner_type", "owner_id")),
    Node: (("pool_id",), ("provider",), ("provider", "provider_instance_id")),
    Model: (("name",), ("name", "model_version")),
    Deployment: (("pool_id",), ("org_id",), ("model_name",), ("model_id",)),
    Replica: (("deployment_id",), ("pool_id",), ("node_id",), ("instance_name",), ("state",)),
}
"""Fields by which records are found without a scan."""


class Index:
    """All records in memory."""

    def __init__(self) -> None:
        self._tables: dict[type[Record], Table[Any]] = {cls: Table(INDEXED[cls]) for cls in KINDS}
        self.feed = Feed()

    @property
    def revision(self) -> int:
        """Revision of the last commit that the index shows."""
        return self.feed.revision

    def table(self, cls: type[R]) -> Table[R]:
        """The records of one class."""
        return self._tables[cls]

    def get(self, cls: type[R], id: str) -> R | None:  # noqa: A002 - the name that records use
        """The record with this id, or None."""
        return self.table(cls).rows.get(id)

    def all(self, cls: type[R]) -> list[R]:
        """Every record of a class, ordered by id."""
        table = self.table(cls)
        return [table.rows[key] for key in table.ids]

    def find(self, cls: type[R], **equals: object) -> list[R]:
        """The records whose fields equal the values, ordered by id.

        A tuple, list, set or frozenset means any of its members. Fields of ``INDEXED`` cost what is found; others a
        look at every record that those leave.
        """
        return self.table(cls).find(equals)

    def page(
        self,
        cls: type[R],
        *,
        where: Mapping[str, Hashable] | None = None,
        before: str | None,
        limit: int,
        keep: Callable[[R], bool] | None = None,
    ) -> tuple[list[R], int]:
        """One page, newest first, of the records whose fields equal ``where`` and that ``keep`` accepts.

        ``before``: only records with a smaller id (the last id of the page before); None begins with the newest.
        Returns the page and the number of records on all pages. Without ``keep`` and with at most one indexed filter
        the cost does not depend on the size of the table.
        """
        table = self.table(cls)
        ids, rest = table.narrow(dict(where or {}))
        if not rest and keep is None:
            end = len(ids) if before is None else bisect_left(ids, before)
            return [table.rows[key] for key in reversed(ids[max(0, end - limit) : end])], len(ids)
        chosen = [row for row in table.matching(ids, rest) if keep is None or keep(row)]
        end = len(chosen) if before is None else bisect_left(chosen, before, key=_id)
        return list(reversed(chosen[max(0, end - limit) : end])), len(chosen)

    def subscribe(self, *, kinds: Collection[str] | None = None) -> Subscription:
        """Follow the changes of these kinds (None: all) from now on."""
        return self.feed.subscribe(kinds)

    def bell(self, *, kinds: Collection[str] | None = None) -> Bell:
        """Something to wait at for changes of these kinds (None: all)."""
        return self.feed.bell(kinds)

    def changes_after(self, revision: int, kinds: Collection[str]) -> list[Change] | None:
        """See ``Feed.changes_after``: the last change of each record since a revision; None when too far back."""
        return self.feed.changes_after(revision, kinds)

    def load(self, records: Iterable[Record]) -> None:
        """Put records in at start, those of a class ordered by id. Nobody is told."""
        for record in records:
            self._tables[type(record)].put(record)

    def apply(self, changes: Sequence[Change], records: Mapping[tuple[str, str], Record], revision: int) -> None:
        """Show committed changes, given in revision order with the records they left, up to ``revision``.

        What the index shows already is skipped, so that a commit may be applied by whoever hears of it first.
        """
        new = [change for change in changes if change.revision > self.revision]
        for change in new:
            table = self._tables[CLASSES[change.kind]]
            record = records.get((change.kind, change.id))
            if record is None:
                table.remove(change.id)
            else:
                table.put(with_newest_liveness(record, table.rows.get(change.id)))
        if revision > self.revision:
            self.feed.publish(new, revision)

    def replace_liveness(self, node: Node) -> None:
        """Show a node's newer liveness; that is no change of the feed."""
        self.table(Node).put_again(node)


def _id(record: Record) -> str:
    return record.id

"""The change feed in memory: the latest changes, and those who follow them.

Changes are kept once for all subscriptions. A subscription is a position in the feed, so that one costs nothing per
change until it reads; only one that falls behind what is kept gets a dictionary of its own, with the last change of
each record, and so never misses a record and never grows beyond the number of records.
"""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Collection, Iterable, Sequence
from types import TracebackType
from typing import Self

from orchestration.store.records import Change

RING_SIZE = 16_384
"""Changes that are kept for resuming watches."""
_CHUNK = 1_024


def _revision(change: Change) -> int:
    return change.revision


class Bell:
    """Wakes its holder at a change of some kinds. It remembers nothing, so that one costs nothing until it rings."""

    def __init__(self, feed: Feed, kinds: frozenset[str] | None) -> None:
        self._feed = feed
        self.kinds = kinds
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait for the next change. Look at what there is first: what came before the call does not ring."""
        self._waiter = asyncio.get_running_loop().create_future()
        self._feed.add_waiting(self)
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._feed.remove_waiting(self)

    def wake(self) -> None:
        """Ring."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Subscription(Bell):
    """An asynchronous iterator of batches of changes, each already applied to the index.

    A batch holds at most one change of a record: its last. Use it as a context manager, or close it.
    """

    def __init__(self, feed: Feed, kinds: frozenset[str] | None) -> None:
        super().__init__(feed, kinds)
        self.position = feed.revision
        self._behind: dict[tuple[str, str], Change] = {}
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Change]:
        """The changes since the last batch; waits for one, and ends when the subscription is closed."""
        while not self._closed:
            batch = self.take()
            if batch:
                return batch
            await self.wait()
        raise StopAsyncIteration

    def take(self) -> list[Change]:
        """The changes since the last batch, without waiting; empty when there are none."""
        latest = self._behind
        self._behind = {}
        self.absorb_into(latest, self._feed.after(self.position))
        self.position = self._feed.revision
        return sorted(latest.values(), key=_revision)

    def absorb(self, leaving: Sequence[Change]) -> None:
        """Keep the changes that leave the feed before this subscription has read them."""
        start = bisect.bisect_right(leaving, self.position, key=_revision)
        self.absorb_into(self._behind, leaving[start:])
        self.position = max(self.position, leaving[-1].revision)

    def absorb_into(self, latest: dict[tuple[str, str], Change], changes: Iterable[Change]) -> None:
        """Put the changes of this subscription's kinds over the older ones of the same records."""
        for change in changes:
            if self.kinds is None or change.kind in self.kinds:
                latest[change.kind, change.id] = change

    def close(self) -> None:
        """End the subscription; a waiting iteration ends. Closing twice is allowed."""
        self._closed = True
        self._feed.forget(self)
        self.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Feed:
    """The latest changes, in revision order."""

    def __init__(self, revision: int = 0) -> None:
        self.revision = revision
        self.floor = revision
        """Changes after this revision are kept."""
        self._changes: list[Change] = []
        self._subscriptions: set[Subscription] = set()
        self._waiting: dict[str | None, set[Bell]] = {}

    def load(self, changes: Sequence[Change], *, floor: int, revision: int) -> None:
        """Begin anew with changes read from the database; nothing after ``floor`` is missing from them."""
        self._changes = list(changes)
        self.floor = floor
        self.revision = revision

    def publish(self, changes: Sequence[Change], revision: int) -> None:
        """Append changes with growing revisions, none above ``revision``, and wake whom they concern."""
        self.revision = revision
        self._changes.extend(changes)
        if len(self._changes) > RING_SIZE + _CHUNK:
            self._shorten()
        for kind in {change.kind for change in changes} | {None}:
            for waiting in tuple(self._waiting.get(kind, ())):
                waiting.wake()

    def _shorten(self) -> None:
        count = len(self._changes) - RING_SIZE
        leaving = self._changes[:count]
        for subscription in self._subscriptions:
            if subscription.position < leaving[-1].revision:
                subscription.absorb(leaving)
        del self._changes[:count]
        self.floor = leaving[-1].revision

    def after(self, revision: int) -> list[Change]:
        """The kept changes with a later revision."""
        if revision >= self.revision:
            return []
        return self._changes[bisect.bisect_right(self._changes, revision, key=_revision) :]

    def changes_after(self, revision: int, kinds: Collection[str]) -> list[Change] | None:
        """The last change of each record of these kinds after a revision, or None when that is too far back.

        A revision that was never given out (another database's) is answered with None as well.
        """
        if revision < self.floor or revision > self.revision:
            return None
        latest = {(change.kind, change.id): change for change in self.after(revision) if change.kind in kinds}
        return sorted(latest.values(), key=_revision)

    def subscribe(self, kinds: Collection[str] | None) -> Subscription:
        """A subscription that begins with the next change."""
        subscription = Subscription(self, None if kinds is None else frozenset(kinds))
        self._subscriptions.add(subscription)
        return subscription

    def bell(self, kinds: Collection[str] | None) -> Bell:
        """Something to wait at for changes of these kinds (None: all)."""
        return Bell(self, None if kinds is None else frozenset(kinds))

    def add_waiting(self, bell: Bell) -> None:
        """Note that somebody waits for a change."""
        for kind in bell.kinds or (None,):
            self._waiting.setdefault(kind, set()).add(bell)

    def remove_waiting(self, bell: Bell) -> None:
        """Forget that somebody waits."""
        for kind in bell.kinds or (None,):
            self._waiting[kind].discard(bell)

    def forget(self, subscription: Subscription) -> None:
        """Forget a closed subscription."""
        self._subscriptions.discard(subscription)

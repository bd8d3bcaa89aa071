"""Which deployments changed so that it can be seen, in the order of their last such change: once for all watches.

A watch is a position in this log, so that one costs nothing while nothing happens, however many there are; each change
is looked at once, and one that shows nothing new to anybody whom this log told of the deployment is no change here. Who
was told by another log may know the deployment otherwise, and has to be told from the change feed first.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, replace

from orchestration.service.usecases.views import deployment_view
from orchestration.store.index import Index
from orchestration.store.records import Change, Deployment, Replica
from orchestration.v1 import model_deployments_pb2 as pb

KINDS = frozenset({Deployment.kind, Replica.kind})
"""Records whose changes can be seen of a deployment."""
_MAX_GONE = 4096
"""Deployments that are gone and remembered at most; who is further behind is told from the change feed."""
_MAX_LOOKS = 100
"""Deployments that are looked at in one go, about 0.2 ms each: nothing else runs meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A deployment that changed, or that is gone."""

    deployment_id: str
    revision: int
    """Of its last change that can be seen."""
    gone: bool
    created_revision: int
    org_id: str
    pool_id: str
    model_name: str
    was: bytes = b""
    """Digest of what it looked like before, where nobody has looked yet whether that changed; else empty."""
    before: int = 0
    """Who is at this revision or later, and has not been told of this change, knows it as it was."""

    def matches(self, request: pb.WatchDeploymentsRequest) -> bool:
        """Whether a watch selects it. What watches select by never changes in a deployment's life."""
        return (
            request.org_id in {"", self.org_id}
            and request.pool_id in {"", self.pool_id}
            and request.deployment_id in {"", self.deployment_id}
            and request.model_name in {"", self.model_name}
        )


@dataclass(frozen=True, slots=True)
class View:
    """A deployment as it is told."""

    message: pb.Deployment
    digest: bytes
    """Equal where the same can be seen."""
    revision: int
    """Of its last change in the log; 0: none since the log began."""


class UnknownParentError(Exception):
    """A replica went, and which deployment it was of cannot be told: it went before the feed kept that."""


class WatchLog:
    """The log of one process. Nothing is done while nobody watches."""

    def __init__(self, index: Index, clock: Callable[[], float], *, max_gone: int = _MAX_GONE) -> None:
        self.id = secrets.token_hex(4)
        """Tells this log from those of other processes."""
        self._index = index
        self._clock = clock
        self._max_gone = max_gone
        self._watching = 0
        self._changed: dict[str, Sighting] = {}
        """What changed since the floor, in the order of its last change."""
        self._digests: dict[str, bytes] = {}
        """Of the deployments that somebody who watches was told of, as they are at the log's revision."""
        self._gone = 0
        self.revision = index.revision
        """Up to where the log tells."""
        self.floor = index.revision
        """From where on it tells."""

    @contextmanager
    def watching(self) -> Generator[None]:
        """While somebody watches. What happens while nobody does is left to the change feed."""
        if not self._watching and self.revision != self._index.revision:
            self._begin_anew()
        self._watching += 1
        try:
            yield
        finally:
            self._watching -= 1
            if not self._watching:
                self._digests.clear()

    def after(self, revision: int) -> list[Sighting] | None:
        """The deployments that changed visibly after a revision, in that order, for somebody whom this log told so far.

        None when that is below the floor, or of another process that is ahead of this one.
        """
        self._absorb()
        if not self.floor <= revision <= self.revision:
            return None
        found: list[Sighting] = []
        for sighting in reversed(self._changed.values()):
            if sighting.revision <= revision:
                break
            found.append(sighting)
        return found[::-1]

    def missed(self, changes: Iterable[Change], upto: int) -> tuple[list[Sighting], int]:
        """The deployments that changes are of, in the order of these, and the revision up to which that tells.

        ``upto``: what the changes tell up to. Whoever is told at that revision knows what the log knows only when that
        is the log's own revision. Raises `UnknownParentError`.
        """
        self._absorb()
        upto = min(upto, self.revision)  # the changes may be read from a database that is ahead of the index
        found = (self._missed(*item, upto) for item in touched(changes, self._index).items())
        return [sighting for sighting in found if sighting is not None], upto

    def _missed(self, deployment_id: str, change: Change, upto: int) -> Sighting | None:
        """What to tell of a deployment that changed; one that changed again is told as it is now."""
        at = min(change.revision, upto)
        is_gone = change.kind == Deployment.kind and change.tombstone and change.revision <= upto
        if is_gone or self._index.get(Deployment, deployment_id) is not None:
            return self._sighting(deployment_id, change, at)
        again = self._changed.get(deployment_id)  # it went later, which has its own turn, or it is not here yet
        return replace(again, gone=False, revision=at) if again is not None else None

    def view(self, deployment_id: str) -> View | None:
        """A deployment as it is now, for somebody who is told of it; None when it is gone."""
        self._absorb()
        deployment = self._index.get(Deployment, deployment_id)
        if deployment is None:
            return None
        message, digest = self._look(deployment)
        self._digests[deployment_id] = digest
        last = self._changed.get(deployment_id)
        return View(message, digest, last.revision if last is not None else 0)

    def _absorb(self) -> None:
        """Take in what the index shows by now."""
        if self.revision == self._index.revision:
            return
        last = self._last_changes()
        if last is None:
            self._begin_anew()
            return
        are_few = sum(deployment_id in self._digests for deployment_id in last) <= _MAX_LOOKS
        for deployment_id, change in last.items():
            if not are_few:
                self._note(deployment_id, change, was=self._digests.pop(deployment_id, b""))
            elif not self._is_invisible(deployment_id):
                self._note(deployment_id, change)
        self.revision = self._index.revision
        if self._gone > self._max_gone:
            self._forget_gone()

    def _last_changes(self) -> dict[str, Change] | None:
        """The last change of each deployment that the log does not show yet; None when they cannot be told any more.

        That is when nobody has looked for longer than changes are kept, or when an older version wrote one of them.
        Whoever watches hears of it when the feed is asked in the log's place.
        """
        changes = self._index.changes_after(self.revision, KINDS)
        try:
            return touched(changes, self._index) if changes is not None else None
        except UnknownParentError:
            return None

    def _begin_anew(self) -> None:
        self._changed, self._digests, self._gone = {}, {}, 0
        self.revision = self.floor = self._index.revision

    def _is_invisible(self, deployment_id: str) -> bool:
        """Whether the deployment looks as it did when somebody was last told of it."""
        known = self._digests.get(deployment_id)
        deployment = self._index.get(Deployment, deployment_id) if known is not None else None
        if deployment is None:
            self._digests.pop(deployment_id, None)
            return False
        _, self._digests[deployment_id] = self._look(deployment)
        return self._digests[deployment_id] == known

    def _note(self, deployment_id: str, change: Change, *, was: bytes = b"") -> None:
        previous = self._changed.get(deployment_id)
        before = previous.revision if previous is not None else 0
        sighting = self._sighting(deployment_id, change, change.revision, was=was, before=before)
        if sighting is None:
            return  # of a deployment that went before, which was told then
        self._gone += sighting.gone
        self._changed.pop(deployment_id, None)
        self._changed[deployment_id] = sighting

    def _forget_gone(self) -> None:
        oldest = [sighting for sighting in self._changed.values() if sighting.gone][: self._gone // 2]
        for sighting in oldest:
            del self._changed[sighting.deployment_id]
            self.floor = sighting.revision
        self._gone -= len(oldest)

    def _look(self, deployment: Deployment) -> tuple[pb.Deployment, bytes]:
        replicas = self._index.find(Replica, deployment_id=deployment.id)
        message = deployment_view(deployment, replicas, clock=self._clock)
        bare = pb.Deployment()
        bare.CopyFrom(message)
        bare.ClearField("cost_so_far")  # changes by the clock alone
        return message, hashlib.blake2b(bare.SerializeToString(deterministic=True), digest_size=16).digest()

    def _sighting(
        self, deployment_id: str, change: Change, revision: int, *, was: bytes = b"", before: int = 0
    ) -> Sighting | None:
        deployment = self._index.get(Deployment, deployment_id)
        if deployment is not None:
            return Sighting(
                deployment_id=deployment_id,
                revision=revision,
                gone=False,
                created_revision=deployment.created_revision,
                org_id=deployment.org_id,
                pool_id=deployment.pool_id,
                model_name=deployment.model_name,
                was=was,
                before=before,
            )
        created = change.traits.get("created_revision", 0)
        return (
            None
            if change.kind != Deployment.kind
            else Sighting(
                deployment_id=deployment_id,
                revision=revision,
                gone=True,
                created_revision=created if isinstance(created, int) else 0,
                org_id=str(change.traits.get("org_id", "")),
                pool_id=str(change.traits.get("pool_id", "")),
                model_name=str(change.traits.get("model_name", "")),
            )
        )


def touched(changes: Iterable[Change], index: Index) -> dict[str, Change]:
    """The deployments that changes are of, each with its last change, in the order of these.

    The last change of one that is gone is its own tombstone. Raises `UnknownParentError`.
    """
    last: dict[str, Change] = {}
    for change in changes:
        deployment_id = change.id
        if change.kind == Replica.kind:
            deployment_id = change.parent or _parent_in(index, change)
        known = last.get(deployment_id)
        if known is not None and known.kind == Deployment.kind and known.tombstone:
            continue
        last.pop(deployment_id, None)
        last[deployment_id] = change
    return last


def _parent_in(index: Index, change: Change) -> str:
    replica = index.get(Replica, change.id)
    if replica is None:
        raise UnknownParentError(change.id)
    return replica.deployment_id

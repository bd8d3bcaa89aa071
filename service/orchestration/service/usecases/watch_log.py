"""Which deployments changed so that it can be seen, in the order of their last such change: once for all watches.

A watch is a position in this log, so that one costs nothing while nothing happens, however many there are; each change
is looked at once, and one that shows nothing new to anybody who was told of the deployment is no change here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from orchestration.service.usecases.views import deployment_view
from orchestration.store.index import Index
from orchestration.store.records import Change, Deployment, Replica
from orchestration.v1 import model_deployments_pb2 as pb

KINDS = frozenset({Deployment.kind, Replica.kind})
"""Records whose changes can be seen of a deployment."""
_MAX_GONE = 4096
"""Deployments that are gone and remembered at most; who is further behind is told from the change feed."""


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

    def __init__(self, index: Index, *, max_gone: int = _MAX_GONE) -> None:
        self._index = index
        self._max_gone = max_gone
        self._changed: dict[str, Sighting] = {}
        """What changed since the floor, in the order of its last change."""
        self._digests: dict[str, bytes] = {}
        """Of the deployments that somebody was told of, as they were then."""
        self._gone = 0
        self.revision = index.revision
        """Up to where the log tells."""
        self.floor = index.revision
        """From where on it tells."""

    def after(self, revision: int) -> list[Sighting] | None:
        """The deployments that changed visibly after a revision, in that order.

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
        """The deployments that changes are of, in the order of these, and the revision after which `after` goes on.

        ``upto``: what the changes tell up to. What changed again after it is left to `after`. Raises
        `UnknownParentError`.
        """
        self._absorb()
        upto = min(upto, self.revision)  # the changes may be read from a database that is ahead of the index
        found: list[Sighting] = []
        for deployment_id, change in touched(changes, self._index).items():
            again = self._changed.get(deployment_id)
            if change.revision <= upto and (again is None or again.revision <= upto):
                sighting = self._sighting(deployment_id, change)
                found += [sighting] if sighting is not None else []
        return found, upto

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
        changes = self._index.changes_after(self.revision, KINDS)
        if changes is None:  # nobody has looked for longer than changes are kept
            self._changed, self._digests, self._gone = {}, {}, 0
            self.revision = self.floor = self._index.revision
            return
        for deployment_id, change in touched(changes, self._index).items():
            if not self._is_invisible(deployment_id):
                self._note(deployment_id, change)
        self.revision = self._index.revision
        if self._gone > self._max_gone:
            self._forget_gone()

    def _is_invisible(self, deployment_id: str) -> bool:
        """Whether the deployment looks as it did when somebody was last told of it."""
        known = self._digests.get(deployment_id)
        deployment = self._index.get(Deployment, deployment_id) if known is not None else None
        if deployment is None:
            self._digests.pop(deployment_id, None)
            return False
        _, self._digests[deployment_id] = self._look(deployment)
        return self._digests[deployment_id] == known

    def _note(self, deployment_id: str, change: Change) -> None:
        sighting = self._sighting(deployment_id, change)
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
        message = deployment_view(deployment, self._index.find(Replica, deployment_id=deployment.id))
        bare = pb.Deployment()
        bare.CopyFrom(message)
        bare.ClearField("cost_so_far")  # changes by the clock alone
        return message, hashlib.blake2b(bare.SerializeToString(deterministic=True), digest_size=16).digest()

    def _sighting(self, deployment_id: str, change: Change) -> Sighting | None:
        deployment = self._index.get(Deployment, deployment_id)
        if deployment is not None:
            return Sighting(
                deployment_id=deployment_id,
                revision=change.revision,
                gone=False,
                created_revision=deployment.created_revision,
                org_id=deployment.org_id,
                pool_id=deployment.pool_id,
                model_name=deployment.model_name,
            )
        created = change.traits.get("created_revision", 0)
        return (
            None
            if change.kind != Deployment.kind
            else Sighting(
                deployment_id=deployment_id,
                revision=change.revision,
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

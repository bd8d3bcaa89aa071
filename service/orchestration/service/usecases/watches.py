"""Watching deployments: a snapshot, then each change, with a token to go on from after a break."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Iterable

from orchestration.service.errors import InvalidArgumentError, OutOfRangeError, Violation
from orchestration.service.usecases.views import deployment_view
from orchestration.store.index import Index
from orchestration.store.records import Change, Deployment, Replica
from orchestration.v1 import model_deployments_pb2 as pb

_KINDS = frozenset({Deployment.kind, Replica.kind})
_PREFIX = "r"


class WatchUseCase:
    """What callers watch."""

    def __init__(self, index: Index) -> None:
        self._index = index

    async def watch_deployments(
        self, request: pb.WatchDeploymentsRequest
    ) -> AsyncIterator[pb.WatchDeploymentsResponse]:
        """The snapshot, SYNCED, and then each change. With a resume token what came after it, and no snapshot.

        Changes of one deployment that come faster than the caller reads are told once, as it is then. Raises
        `OutOfRangeError` when the token is too old: watch without one, for a snapshot.
        """
        seen: set[str] = set()
        with self._index.subscribe(kinds=_KINDS) as subscription:
            if request.resume_token:
                missed = self._missed(_decode(request.resume_token))
                for message in self._changes(request, missed, seen, self._index.revision):
                    yield message
            else:
                revision = self._index.revision
                for deployment in self._snapshot(request):
                    seen.add(deployment.id)
                    yield self._message(pb.WatchDeploymentsResponse.ADDED, deployment)
                synced = pb.WatchDeploymentsResponse.SYNCED
                yield pb.WatchDeploymentsResponse(type=synced, resume_token=_encode(revision))
            async for batch in subscription:
                for message in self._changes(request, batch, seen, max(change.revision for change in batch)):
                    yield message

    def _missed(self, revision: int) -> list[Change]:
        if revision > self._index.revision:
            raise InvalidArgumentError(Violation("resume_token", "is of the future; it is not of this gateway"))
        missed = self._index.changes_after(revision, kinds=_KINDS)
        if missed is None:
            text = "resume_token is older than the changes that are still kept; watch without it, for a snapshot"
            raise OutOfRangeError("RESUME_TOKEN_TOO_OLD", text)
        return missed

    def _snapshot(self, request: pb.WatchDeploymentsRequest) -> list[Deployment]:
        if request.deployment_id:
            found = self._index.get(Deployment, request.deployment_id)
            return [found] if found and _matches(found, request) else []
        filters = {"org_id": request.org_id, "pool_id": request.pool_id, "model_name": request.model_name}
        where = {name: value for name, value in filters.items() if value}
        found_all = self._index.find(Deployment, **where) if where else self._index.all(Deployment)
        return sorted(found_all, key=lambda deployment: deployment.id)

    def _changes(
        self, request: pb.WatchDeploymentsRequest, changes: Iterable[Change], seen: set[str], revision: int
    ) -> list[pb.WatchDeploymentsResponse]:
        """One message for each deployment that the changes touch; the last one carries the token."""
        messages: list[pb.WatchDeploymentsResponse] = []
        for deployment_id in self._touched(changes):
            deployment = self._index.get(Deployment, deployment_id)
            if deployment is not None and _matches(deployment, request):
                kind = pb.WatchDeploymentsResponse.MODIFIED
                if deployment_id not in seen and not request.resume_token:
                    kind = pb.WatchDeploymentsResponse.ADDED
                seen.add(deployment_id)
                messages.append(self._message(kind, deployment))
            elif deployment is None and (deployment_id in seen or _may_have_matched(deployment_id, request)):
                seen.discard(deployment_id)
                gone = pb.Deployment(deployment_id=deployment_id)
                messages.append(pb.WatchDeploymentsResponse(type=pb.WatchDeploymentsResponse.DELETED, deployment=gone))
        if messages:
            messages[-1].resume_token = _encode(revision)
        return messages

    def _touched(self, changes: Iterable[Change]) -> list[str]:
        """Ids of the deployments that the changes are of, in the order of the changes, each once."""
        touched: dict[str, None] = {}
        for change in changes:
            if change.kind == Deployment.kind:
                touched[change.id] = None
            else:
                replica = self._index.get(Replica, change.id)
                if replica is not None:
                    touched[replica.deployment_id] = None
        return list(touched)

    def _message(self, kind: pb.WatchDeploymentsResponse.Type, deployment: Deployment) -> pb.WatchDeploymentsResponse:
        view = deployment_view(deployment, self._index.find(Replica, deployment_id=deployment.id))
        return pb.WatchDeploymentsResponse(type=kind, deployment=view)


def _matches(deployment: Deployment, request: pb.WatchDeploymentsRequest) -> bool:
    return (
        request.org_id in {"", deployment.org_id}
        and request.pool_id in {"", deployment.pool_id}
        and request.deployment_id in {"", deployment.id}
        and request.model_name in {"", deployment.model_name}
    )


def _may_have_matched(deployment_id: str, request: pb.WatchDeploymentsRequest) -> bool:
    """Whether a watch that resumed, and so has no snapshot, may know a deployment that is gone."""
    return bool(request.resume_token) and request.deployment_id in {"", deployment_id}


def _encode(revision: int) -> str:
    return base64.urlsafe_b64encode(f"{_PREFIX}{revision}".encode()).decode().rstrip("=")


def _decode(token: str) -> int:
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
        if text.startswith(_PREFIX):
            return int(text[len(_PREFIX) :])
    except (binascii.Error, UnicodeDecodeError, ValueError):
        pass
    raise InvalidArgumentError(Violation("resume_token", "is no resume token of this server"))

"""Watching deployments: a snapshot, then each change, with a token to go on from after a break."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Collection, Iterable

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

        Changes of one deployment that come faster than the caller reads are told once, as it is then; one that was made
        before the caller resumed is told as MODIFIED, since the caller may know it. Raises
        `OutOfRangeError` when the token is too old: watch without one, for a snapshot.
        """
        with self._index.subscribe(kinds=_KINDS) as subscription:
            snapshot = self._snapshot(request)
            seen = {deployment.id for deployment in snapshot}
            owners = {replica.id: replica.deployment_id for replica in self._index.find(Replica, deployment_id=seen)}
            if request.resume_token:
                missed = self._missed(_decode(request.resume_token))
                for message in self._changes(request, missed, seen, owners, resumed=True):
                    yield message
            else:
                revision = self._index.revision
                for deployment in snapshot:
                    yield self._message(pb.WatchDeploymentsResponse.ADDED, deployment)
                synced = pb.WatchDeploymentsResponse.SYNCED
                yield pb.WatchDeploymentsResponse(type=synced, resume_token=_encode(revision))
            async for batch in subscription:
                for message in self._changes(request, batch, seen, owners):
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
        self,
        request: pb.WatchDeploymentsRequest,
        changes: Iterable[Change],
        seen: set[str],
        owners: dict[str, str],
        *,
        resumed: bool = False,
    ) -> list[pb.WatchDeploymentsResponse]:
        """One message for each deployment that the changes touch, in an order in which each can be resumed from.

        `seen` holds what the caller knows, `owners` the deployment of each replica, also of one that is gone. One that
        has resumed may also know deployments that are gone by now, and which of those matched cannot be told any more.
        """
        messages: list[pb.WatchDeploymentsResponse] = []
        for deployment_id, revision in self._touched(changes, owners, seen if resumed else ()):
            deployment = self._index.get(Deployment, deployment_id)
            if deployment is not None and _matches(deployment, request):
                known = deployment_id in seen
                kind = pb.WatchDeploymentsResponse.MODIFIED if known else pb.WatchDeploymentsResponse.ADDED
                seen.add(deployment_id)
                message = self._message(kind, deployment)
            elif deployment is None and (deployment_id in seen or (resumed and _names(request, deployment_id))):
                seen.discard(deployment_id)
                gone = pb.Deployment(deployment_id=deployment_id)
                message = pb.WatchDeploymentsResponse(type=pb.WatchDeploymentsResponse.DELETED, deployment=gone)
            else:
                continue
            message.resume_token = _encode(revision)
            messages.append(message)
        return messages

    def _touched(
        self, changes: Iterable[Change], owners: dict[str, str], otherwise: Collection[str]
    ) -> list[tuple[str, int]]:
        """Ids of the deployments that the changes are of, each once with its last revision, by that revision.

        A replica that was gone before the caller resumed may have been of any deployment: of `otherwise`.
        """
        touched: dict[str, int] = {}
        for change in changes:
            replica = self._index.get(Replica, change.id)
            if change.kind == Deployment.kind:
                touched[change.id] = change.revision
            elif replica is not None:
                owners[replica.id] = replica.deployment_id
                touched[replica.deployment_id] = change.revision
            elif change.id in owners:
                touched[owners.pop(change.id)] = change.revision
            else:
                touched.update(dict.fromkeys(otherwise, change.revision))
        return sorted(touched.items(), key=lambda item: item[1])

    def _message(self, kind: pb.WatchDeploymentsResponse.Type, deployment: Deployment) -> pb.WatchDeploymentsResponse:
        view = deployment_view(deployment, self._index.find(Replica, deployment_id=deployment.id))
        return pb.WatchDeploymentsResponse(type=kind, deployment=view)


def _matches(deployment: Deployment, request: pb.WatchDeploymentsRequest) -> bool:
    return (
        request.org_id in {"", deployment.org_id}
        and request.pool_id in {"", deployment.pool_id}
        and _names(request, deployment.id)
        and request.model_name in {"", deployment.model_name}
    )


def _names(request: pb.WatchDeploymentsRequest, deployment_id: str) -> bool:
    return request.deployment_id in {"", deployment_id}


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

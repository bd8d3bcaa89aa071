"""Watching deployments: a snapshot, then each change, with a token to go on from after a break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise

from orchestration.service.usecases.watch_log import KINDS, Sighting, UnknownParentError, View, WatchLog
from orchestration.service.usecases.watch_tokens import Position, Tokens, foreign, too_old
from orchestration.store.records import Deployment
from orchestration.store.store import Store
from orchestration.v1 import model_deployments_pb2 as pb

_PAUSE_EVERY = 64
"""Deployments that are told in a row before others get a turn, when the caller reads as fast as they come."""
_GONE = b""
"""In place of a digest: the caller is to hear nothing of a deployment that went before its turn came."""


class WatchUseCase:
    """What callers watch."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tokens = Tokens(store.installation_id)
        self._log = WatchLog(store.index, store.clock)

    async def watch_deployments(
        self, request: pb.WatchDeploymentsRequest
    ) -> AsyncGenerator[pb.WatchDeploymentsResponse, None]:
        """The snapshot, SYNCED, and then each change. With a resume token what came after it, and no snapshot.

        A deployment that changes faster than the caller reads is told once, as it is then; a change that cannot be seen
        is not told. A token goes on right after its message: every deployment that changed since is told once, also
        after a restart, or by another gateway on the same database. No database connection is held. Raises
        `InvalidArgumentError` for what is no token of this watch, and `OutOfRangeError` for one that is too old or of
        another database: watch without one, for a snapshot.

        A deployment told as MODIFIED is one that the caller knows. Where a watch broke in the midst of many changes,
        one that is told as ADDED may be known, and one that is told as DELETED may never have been told.
        """
        with self._log.watching():
            watch = _Watch(self._store, self._log, self._tokens, request)
            if request.resume_token:
                await watch.resume()
            else:
                async with aclosing(watch.snapshot()) as snapshot:
                    async for message in snapshot:
                        yield message
            async with aclosing(watch.changes()) as changes:
                async for message in changes:
                    yield message


class _Watch:
    """One caller's watch."""

    def __init__(self, store: Store, log: WatchLog, tokens: Tokens, request: pb.WatchDeploymentsRequest) -> None:
        self._store = store
        self._index = store.index
        self._log = log
        self._tokens = tokens
        self._request = request
        self._ahead: dict[str, bytes] = {}
        """Digests of deployments that were told as they were after a change whose turn has not come yet."""
        self.position = Position(0, 0)

    async def resume(self) -> None:
        """Stand where the token does, and be no less far than who gave it out: nothing is told as it was before."""
        self.position = self._tokens.decode(self._request)
        seen = self.position.seen
        if seen > self._index.revision and await self._store.changes_after(seen, KINDS) is None:
            raise foreign()

    async def snapshot(self) -> AsyncGenerator[pb.WatchDeploymentsResponse, None]:
        """What matches now, and SYNCED."""
        revision = self._index.revision
        for number, deployment_id in enumerate(self._selected(), 1):
            view = self._view(deployment_id, revision)
            if view is None:
                self._ahead[deployment_id] = _GONE
            else:
                yield pb.WatchDeploymentsResponse(type=pb.WatchDeploymentsResponse.ADDED, deployment=view.message)
            if number % _PAUSE_EVERY == 0:
                await asyncio.sleep(0)
        self.position = Position(revision, revision, self._log.id)
        token = self._token(self.position)
        yield pb.WatchDeploymentsResponse(type=pb.WatchDeploymentsResponse.SYNCED, resume_token=token)

    def _token(self, position: Position) -> str:
        return self._tokens.encode(replace(position, seen=self._index.revision), self._request)

    def _selected(self) -> list[str]:
        request = self._request
        filters = {"org_id": request.org_id, "pool_id": request.pool_id, "model_name": request.model_name}
        where = {name: value for name, value in filters.items() if value}
        if request.deployment_id:
            found = self._index.get(Deployment, request.deployment_id)
            matches = found is not None and all(getattr(found, name) == value for name, value in where.items())
            return [request.deployment_id] if matches else []
        return [deployment.id for deployment in self._index.find(Deployment, **where)]

    def _view(self, deployment_id: str, revision: int) -> View | None:
        """The deployment as it is now, for a message about what it was at a revision."""
        view = self._log.view(deployment_id)
        if view is not None and view.revision > revision:
            self._ahead[deployment_id] = view.digest
        return view

    async def changes(self) -> AsyncGenerator[pb.WatchDeploymentsResponse, None]:
        """What changed after the position, and then what changes, for ever."""
        bell = self._index.bell(kinds=KINDS)
        while True:
            news, end = await self._news()
            told = [sighting for sighting in news if self._concerns(sighting)]
            places = _places([sighting.revision for sighting in told], self.position, end)
            for number, (sighting, place) in enumerate(zip(told, places, strict=True), 1):
                message = self._message(sighting)
                if message is not None:
                    message.resume_token = self._token(place)
                    yield message
                if number % _PAUSE_EVERY == 0:
                    await asyncio.sleep(0)
            self.position = end
            if end.revision == self._index.revision:
                await bell.wait()

    async def _news(self) -> tuple[list[Sighting], Position]:
        """What changed after the position, and where the caller stands when all of it is told."""
        if self.position.log == self._log.id:
            news, reached = self._log.after(self.position.revision), self._log.revision
            if news is not None:
                return news, Position(reached, reached, self._log.id)
        return await self._missed()

    async def _missed(self) -> tuple[list[Sighting], Position]:
        """The same from the change feed, for a caller that another log told, or that is behind what the log keeps."""
        self.position = replace(self.position, log="")  # the log may hold for unchanged what has to be told here
        revision = self.position.revision
        found = await self._store.changes_after(revision, KINDS)
        if found is None:
            raise too_old() if revision <= self._index.revision else foreign()
        try:
            news, reached = self._log.missed(*found)
        except UnknownParentError:
            raise too_old() from None
        return news, Position(reached, reached, self._log.id if reached == self._log.revision else "")

    def _concerns(self, sighting: Sighting) -> bool:
        """Whether the caller has to hear of it: not of what came and went since."""
        unknown = sighting.gone and sighting.created_revision > self.position.revision
        return sighting.matches(self._request) and not unknown

    def _message(self, sighting: Sighting) -> pb.WatchDeploymentsResponse | None:
        """What is told of a change; None when the caller knows it already, or has not to know any more."""
        known = sighting.was if sighting.before <= self.position.revision else b""
        told = self._ahead.pop(sighting.deployment_id, known or None)
        new = sighting.created_revision > self.position.base
        if sighting.gone:
            gone = pb.Deployment(deployment_id=sighting.deployment_id)
            deleted = pb.WatchDeploymentsResponse(type=pb.WatchDeploymentsResponse.DELETED, deployment=gone)
            return None if told == _GONE else deleted
        view = self._view(sighting.deployment_id, sighting.revision)
        if view is None:  # gone by now, which has its own turn
            if sighting.created_revision > self.position.revision:  # or it may have been told before a break
                self._ahead[sighting.deployment_id] = _GONE
            return None
        if view.digest == told:
            return None
        kind = pb.WatchDeploymentsResponse.ADDED if new else pb.WatchDeploymentsResponse.MODIFIED
        return pb.WatchDeploymentsResponse(type=kind, deployment=view.message)


def _places(revisions: Sequence[int], position: Position, end: Position) -> list[Position]:
    """The place to go on from after each message; `revisions` are those of the messages, in their order."""
    places: list[Position] = []
    told = position.revision
    for revision, following in pairwise(revisions):
        # Several may have gone at one revision: only after the last of them nothing of it is left to tell.
        told = revision if following > revision else told
        places.append(replace(position, revision=told))
    return [*places, end][: len(revisions)]

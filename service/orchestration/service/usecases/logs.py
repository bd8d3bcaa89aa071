"""Log lines of a deployment: a page, where to follow, and the tail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from orchestration.service.errors import InvalidArgumentError, Violation
from orchestration.service.logs.store import LogLine, LogStore, decode_cursor
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.values import seconds_of, timestamp
from orchestration.store.records import Deployment, Pool
from orchestration.store.store import Store
from orchestration.v1 import model_deployments_pb2 as pb

DEFAULT_TAIL = 100


class LogUseCases:
    """What callers do with logs."""

    def __init__(
        self, store: Store, logs: LogStore, providers: ProviderRegistry, require: Callable[[str], Deployment]
    ) -> None:
        self._index = store.index
        self._logs = logs
        self._providers = providers
        self._require = require

    async def get_deployment_logs(self, request: pb.GetDeploymentLogsRequest) -> pb.GetDeploymentLogsResponse:
        """A page: the last lines, or those after a token."""
        deployment = self._require(request.deployment_id)
        wanted = request.tail if request.HasField("tail") else DEFAULT_TAIL
        since = seconds_of(request.since) if request.HasField("since") else None
        replica = request.replica_id or None
        after = self._position("page_token", request.page_token, deployment.id)
        if after is None:
            lines = await self._logs.tail(deployment.id, wanted, replica_id=replica, since=since)
            token = lines[-1].cursor if lines else ""
        else:
            page = await self._logs.read(deployment.id, after=after, limit=wanted, since=since, replica_id=replica)
            lines, token = list(page.lines), page.next_cursor or request.page_token
        return pb.GetDeploymentLogsResponse(
            deployment_id=deployment.id, logs=[_entry(line) for line in lines], next_page_token=token
        )

    def _position(self, field: str, cursor: str, deployment_id: str) -> int | None:
        if not cursor:
            return None
        try:
            return decode_cursor(cursor, deployment_id)
        except ValueError as error:
            raise InvalidArgumentError(Violation(field, str(error))) from None

    async def log_stream_info(self, request: pb.GetLogStreamInfoRequest, http_base: str) -> pb.GetLogStreamInfoResponse:
        """Where the log can be followed; `http_base` is the REST root as the caller sees it, ``http://host:port``."""
        deployment = self._require(request.deployment_id)
        pool = self._index.get(Pool, deployment.pool_id)
        known = pool is not None and pool.provider in self._providers.names
        supported = known and self._providers.get(pool.provider).capabilities.log_streaming if pool else False
        last = await self._logs.tail(deployment.id, 1, replica_id=None, since=None)
        path = f"/deployment/logs/{deployment.id}/tail"
        return pb.GetLogStreamInfoResponse(
            ws_url=f"{http_base.replace('http', 'ws', 1)}{path}",
            sse_url=f"{http_base}{path}",
            supported=supported,
            provider=pool.provider if pool else "",
            subscription=pb.LogSubscription(deployment_id=deployment.id, cursor=last[-1].cursor if last else ""),
        )

    async def tail_deployment_logs(self, request: pb.TailDeploymentLogsRequest) -> AsyncIterator[pb.LogEntry]:
        """The last lines, or those after a cursor, and then each line as it comes."""
        deployment = self._require(request.deployment_id)
        if request.cursor and request.HasField("tail"):
            raise InvalidArgumentError(Violation("tail", "cannot be given with cursor: what follows it is sent whole"))
        after = self._position("cursor", request.cursor, deployment.id)
        replica = request.replica_id or None
        since = seconds_of(request.since) if request.HasField("since") else None
        if after is None:
            count = request.tail if request.HasField("tail") else DEFAULT_TAIL
            after = await self._logs.before_last(deployment.id, count, replica_id=replica, since=since)
        follow = request.follow if request.HasField("follow") else True
        async for line in self._rest(deployment.id, after, replica, follow=follow):
            if since is None or line.time >= since:
                yield _entry(line)

    async def _rest(
        self, deployment_id: str, after: int, replica: str | None, *, follow: bool
    ) -> AsyncIterator[LogLine]:
        if follow:
            async for line in self._logs.follow(deployment_id, after=after, replica_id=replica):
                yield line
            return
        while True:
            page = await self._logs.read(deployment_id, after=after, limit=1000, since=None, replica_id=replica)
            for line in page.lines:
                yield line
            if not page.lines:
                return
            after = page.lines[-1].seq


def _entry(line: LogLine) -> pb.LogEntry:
    return pb.LogEntry(
        time=timestamp(line.time),
        replica_id=line.replica_id,
        stream=line.stream,
        message=line.message,
        cursor=line.cursor,
    )

"""The other half of a replica's life: an attempt that failed, an instance that is cleared, a replica that is ended."""

from __future__ import annotations

import structlog

from orchestration.service.controllers.transitions import UNPLACED, Transitions
from orchestration.service.domain.backoff import Backoff
from orchestration.service.logs.collector import LogCollector
from orchestration.service.logs.errors import LogStoreError
from orchestration.service.providers.base import Provider
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.store.records import Deployment, Replica, ReplicaState

log = structlog.get_logger(__name__)

COMPLETED = "COMPLETED"
"""Reason of a replica that ended well and is not wanted again."""
LAST_LINES = 5
"""Lines of a failed attempt that are told in its message."""
_MAX_TEXT = 2000
_DELETE_AGAIN_S = 5.0
"""How often an instance that is still there is asked to end once more: the request may have been lost."""
_FIRST_GONE_POLL_S = 0.05
_SLOWEST_GONE_POLL_S = 2.0


class Ender:
    """Ends attempts and replicas, keeping what they last said."""

    def __init__(
        self, transitions: Transitions, providers: ProviderRegistry, collector: LogCollector, backoff: Backoff
    ) -> None:
        self._transitions = transitions
        self._providers = providers
        self._collector = collector
        self._backoff = backoff
        self._asked_to_end: dict[str, tuple[str, float]] = {}
        """By replica, the instance that was asked to end, and when."""

    def forget(self, replica_id: str) -> None:
        """Drop what is remembered of a replica that is gone, or another gateway's."""
        self._asked_to_end.pop(replica_id, None)

    @property
    def longest_pause_s(self) -> float:
        """The longest pause before the next attempt."""
        return self._backoff.maximum_s

    async def attempt_failed(
        self,
        replica: Replica,
        deployment: Deployment,
        reason: str,
        message: str,
        *,
        exit_code: int | None = None,
        for_good: bool = False,
    ) -> Replica:
        """Write down why the attempt failed, and when the next may be made; `for_good`: none would fare better."""
        message = await self._with_last_lines(replica, message)
        now = self._transitions.clock()
        lasted = replica.ready_at and now - replica.ready_at >= deployment.restart_window_s
        failures = 1 if lasted else replica.failures + 1
        given_up = for_good or _given_up(deployment, failures, exit_code)
        retry_at = 0.0 if given_up else now + self._backoff.delay(failures)
        text = f"attempt {replica.attempt} failed: {message}"
        text += "; it is given up" if given_up else f"; the next attempt comes in {retry_at - now:.1f} s"
        return await self._transitions.change(
            replica,
            "REPLICA_GIVEN_UP" if given_up else "REPLICA_FAILED",
            text,
            kind="WARNING",
            state=ReplicaState.FAILED,
            reason=reason,
            message=message,
            exit_code=exit_code,
            failures=failures,
            retry_at=retry_at,
            endpoint="",
        )

    async def completed(self, replica: Replica, message: str) -> Replica:
        """Write down that the replica has done its work: no failure, and nothing to start again."""
        provider = self._providers.get(replica.provider)
        await self._collector.drain(provider, replica.instance_name, replica.deployment_id, replica.id)
        return await self._transitions.change(
            replica,
            "REPLICA_COMPLETED",
            message,
            state=ReplicaState.TERMINATED,
            reason=COMPLETED,
            message=message,
            exit_code=0,
            failures=0,
            retry_at=0.0,
            endpoint="",
        )

    async def _with_last_lines(self, replica: Replica, message: str) -> str:
        if not replica.provider_instance_id:
            return message  # nothing ran: the last lines are those of an earlier attempt
        provider = self._providers.get(replica.provider)
        await self._collector.drain(provider, replica.instance_name, replica.deployment_id, replica.id)
        try:
            since = replica.placed_at if replica.attempt > 1 else None
            lines = await self._collector.last_lines(replica.deployment_id, replica.id, LAST_LINES, since=since)
        except LogStoreError as error:  # a full disk must not keep the replica from being replaced
            log.warning("last lines cannot be read", replica_id=replica.id, error=str(error))
            return message
        said = " | ".join(line.strip() for line in lines if line.strip())
        return f"{message}; last lines: {said[-_MAX_TEXT:]}" if said else message

    async def clear(self, replica: Replica) -> Replica | float:
        """Delete the failed attempt's instance; gives the row without it, or the seconds after which to look again."""
        if await self._gone(self._providers.get(replica.provider), replica):
            return await self._transitions.note(replica, **UNPLACED)
        return self._until_next_look(replica)

    async def finish(self, replica: Replica) -> float | None:
        """End a replica that is not wanted; gives the seconds after which to look again, None when it is gone."""
        if replica.instance_name and not await self._gone(self._providers.get(replica.provider), replica):
            return self._until_next_look(replica)
        await self._transitions.remove(replica, "is gone")
        return None

    def _until_next_look(self, replica: Replica) -> float:
        elapsed = self._transitions.clock() - replica.state_changed_at
        return min(_SLOWEST_GONE_POLL_S, max(_FIRST_GONE_POLL_S, elapsed / 10))

    async def _gone(self, provider: Provider, replica: Replica) -> bool:
        now = self._transitions.clock()
        name, asked_at = self._asked_to_end.get(replica.id, ("", 0.0))
        if name != replica.instance_name or now - asked_at >= _DELETE_AGAIN_S:
            await provider.delete(replica.instance_name)
            self._asked_to_end[replica.id] = (replica.instance_name, now)
        if await provider.describe(replica.instance_name) is not None:
            return False
        self.forget(replica.id)
        # What it printed while it ended is the rest of its log.
        await self._collector.drain(provider, replica.instance_name, replica.deployment_id, replica.id)
        return True


def _given_up(deployment: Deployment, failures: int, exit_code: int | None) -> bool:
    match deployment.restart_condition:
        case "NEVER":
            return True
        case "ON_FAILURE" if exit_code == 0:
            return True
        case _:
            return failures >= max(1, deployment.restart_max_attempts)

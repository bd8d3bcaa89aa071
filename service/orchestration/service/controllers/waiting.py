"""How long replicas have waited for providers that do not start what they are asked for, and when they ask again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestration.service.domain.backoff import Backoff
from orchestration.store.records import Replica

PATIENCE_S = 30.0
"""How long a provider that cannot be asked is waited for while there is a place elsewhere."""
WAIT_FOR_PROVIDER_S = 10.0
"""Longest pause between two questions to a provider that cannot do now what it is asked, unless it says when."""
_LEAST_PAUSE_S = 0.1


@dataclass(slots=True)
class _Wait:
    instance_name: str = ""
    """What was asked for; with another name the wait begins anew."""
    times: int = 0
    """Refusals in a row, in whatever place."""
    since: float = 0.0
    until: float = 0.0


class Waits:
    """What is remembered of replicas that wait; kept in memory, since each look would be a write otherwise."""

    def __init__(self, clock: Callable[[], float], backoff: Backoff) -> None:
        self._clock = clock
        self._backoff = backoff
        self._waits: dict[str, _Wait] = {}

    def forget(self, replica_id: str) -> None:
        """Drop what is remembered of a replica that runs, or is gone."""
        self._waits.pop(replica_id, None)

    def refused(self, replica: Replica) -> float:
        """Count a refusal; gives the pause after it in seconds."""
        wait = self._of(replica)
        wait.times += 1
        return max(_LEAST_PAUSE_S, self._backoff.delay(wait.times))

    def unanswered(self, replica: Replica, since: float, retry_after_s: float | None) -> None:
        """Count a provider that could not be asked, `since` being when it was.

        Nothing tells when it is well again: it is asked often enough that little time is lost, unless it says when.
        """
        pause = min(WAIT_FOR_PROVIDER_S, self.refused(replica))
        wait = self._of(replica)
        wait.since = wait.since or since
        wait.until = self._clock() + (retry_after_s or pause)

    def pause(self, replica: Replica) -> float:
        """Seconds until the provider may be asked again; 0.0: now."""
        return max(0.0, self._of(replica).until - self._clock())

    def patience(self, replica: Replica) -> float:
        """Seconds for which the provider is waited for although there may be a place elsewhere; 0.0: no longer."""
        return max(0.0, self._of(replica).since + PATIENCE_S - self._clock())

    def next_look(self, replica: Replica) -> float:
        """Seconds until there is something to do."""
        pause, patience = self.pause(replica), self.patience(replica)
        return min(pause, patience) if patience else pause

    def _of(self, replica: Replica) -> _Wait:
        wait = self._waits.setdefault(replica.id, _Wait())
        if wait.instance_name != replica.instance_name:
            wait.instance_name, wait.since, wait.until = replica.instance_name, 0.0, 0.0
        return wait

"""Whether an engine answers: asked at its health path, counted in a row, never by a timer."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp

from orchestration.service.engines.readiness import ProbeResult, ServedModel, probe, probe_model

RETRY_S = 1.0
"""Pause at most between two probes of an engine that did not answer."""
MODEL_EVERY = 3
"""Of so many probes of an engine that answers, one also asks for its model."""


@dataclass(slots=True)
class _Record:
    failures: int = 0
    probed_at: float = 0.0
    until_model: int = 0
    """Good probes left until the model is asked for again."""


def probe_session() -> aiohttp.ClientSession:
    """A session for probes: no bound on connections, or engines that hang would keep healthy ones from being asked."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())


class HealthMonitor:
    """Probes engines and counts their failures in a row, by replica."""

    def __init__(self, session: aiohttp.ClientSession, *, timeout_s: float, interval_s: float) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._interval_s = interval_s
        self._records: dict[str, _Record] = {}

    def due_in(self, replica_id: str, now: float) -> float:
        """Seconds until a replica that was ready is to be probed again, 0 when it is.

        Failures in a row are failures with time between them: an engine is asked again soon, not at once.
        """
        record = self._records.get(replica_id)
        if record is None:
            return 0.0
        pause = min(self._interval_s, RETRY_S) if record.failures else self._interval_s
        return max(0.0, record.probed_at + pause - now)

    async def ask(
        self, replica_id: str, endpoint: str, health_path: str, now: float, model: ServedModel | None = None
    ) -> ProbeResult:
        """Probe the engine once; for its model, too, at first, after a failure, and now and then."""
        result = await probe(self._session, endpoint, health_path, self._timeout_s)
        record = self._records.setdefault(replica_id, _Record())
        if result.ready and model is not None and record.until_model == 0:
            result = await probe_model(self._session, endpoint, model, self._timeout_s)
            record.until_model = MODEL_EVERY
        record.probed_at = now
        record.failures = 0 if result.ready else record.failures + 1
        record.until_model = max(0, record.until_model - 1) if result.ready else 0
        return result

    def failures(self, replica_id: str) -> int:
        """Failed probes in a row."""
        record = self._records.get(replica_id)
        return record.failures if record else 0

    def forget(self, replica_id: str) -> None:
        """Begin anew: the replica's next instance has failed nothing yet."""
        self._records.pop(replica_id, None)

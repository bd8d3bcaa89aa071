"""Readiness and liveness: what the engine answers moves its replica on, and in the end replaces it."""

from __future__ import annotations

from orchestration.service.controllers.failing import Ender
from orchestration.service.controllers.health import HealthMonitor
from orchestration.service.controllers.transitions import Transitions
from orchestration.service.engines.readiness import ProbeResult, ServedModel
from orchestration.service.usecases.deployment_specs import engine_plan
from orchestration.store.records import Deployment, Replica, ReplicaState

LOOK_INTERVAL_S = 1.0
"""How often a running replica is looked at: whether a probe of its engine is due, and its instance to be described."""
FIRST_PROBE_S = 0.05
_SLOWEST_PROBE_S = 2.0
_PROBED = (ReplicaState.READY, ReplicaState.UNHEALTHY)
"""Probed at intervals; one that starts is asked the more often the less time has passed."""


class Prober:
    """Asks engines how they are, by what their attempt was started with."""

    def __init__(self, transitions: Transitions, ender: Ender, health: HealthMonitor, *, failures: int) -> None:
        self._transitions = transitions
        self._ender = ender
        self._health = health
        self._failures = failures

    def forget(self, replica_id: str) -> None:
        """Begin anew: the replica's next instance has failed nothing yet."""
        self._health.forget(replica_id)

    async def fail(
        self, replica: Replica, deployment: Deployment, reason: str, text: str, exit_code: int | None = None
    ) -> float:
        """End the attempt; gives the seconds after which to look again, as every method here does."""
        self._health.forget(replica.id)
        await self._ender.attempt_failed(replica, deployment, reason, text, exit_code=exit_code)
        return 0.0

    async def probe(self, replica: Replica, deployment: Deployment, *, may_fail: bool = True) -> float:
        """Ask the engine; without `may_fail` nothing is ended, whatever it answers."""
        now = self._transitions.clock()
        due_in = self._health.due_in(replica.id, now) if replica.state in _PROBED else 0.0
        if due_in > 0:
            return min(LOOK_INTERVAL_S, due_in)
        if not replica.endpoint:
            return await self.not_ready(replica, deployment, "it has no endpoint yet", may_fail=may_fail)
        model = ServedModel(replica.models_path, replica.served_model) if replica.models_path else None
        result = await self._health.ask(replica.id, replica.endpoint, replica.health_path, now, model)
        if result.ready:
            if replica.state is not ReplicaState.READY:
                await self._ready(replica)
            return LOOK_INTERVAL_S
        if replica.state is ReplicaState.STARTING:
            return await self.not_ready(replica, deployment, result.message, may_fail=may_fail)
        return await self._not_alive(replica, deployment, result, may_fail=may_fail)

    async def _ready(self, replica: Replica) -> None:
        now = self._transitions.clock()
        back = replica.state is ReplicaState.UNHEALTHY
        text = "answers again" if back else f"is ready {now - replica.started_at:.1f} s after its start"
        ready_at = replica.ready_at if back else now
        await self._transitions.change(
            replica, "REPLICA_READY", text, state=ReplicaState.READY, ready_at=ready_at, reason="", message=""
        )

    async def not_ready(
        self,
        replica: Replica,
        deployment: Deployment,
        message: str,
        *,
        reason: str = "STARTUP_TIMEOUT",
        may_fail: bool = True,
    ) -> float:
        """Wait for an engine that is still starting, for as long as its attempt may take."""
        elapsed = self._transitions.clock() - replica.started_at
        timeout_s = replica.startup_timeout_s or engine_plan(deployment).startup_timeout_s
        if may_fail and elapsed > timeout_s:
            text = f"the engine was not ready within {timeout_s:g} s: {message}"
            return await self.fail(replica, deployment, reason, text)
        return min(_SLOWEST_PROBE_S, max(FIRST_PROBE_S, elapsed / 10))

    async def _not_alive(
        self, replica: Replica, deployment: Deployment, result: ProbeResult, *, may_fail: bool
    ) -> float:
        failures = self._health.failures(replica.id)
        if replica.state is ReplicaState.READY and failures >= self._failures:
            await self._unhealthy(replica, result)
        elif may_fail and failures >= 2 * self._failures:
            reason = "MODEL_GONE" if result.model_gone else "LIVENESS_FAILED"
            return await self.fail(replica, deployment, reason, f"failed {failures} probes in a row: {result.message}")
        return min(LOOK_INTERVAL_S, self._health.due_in(replica.id, self._transitions.clock()))

    async def _unhealthy(self, replica: Replica, result: ProbeResult) -> None:
        text = result.message if result.model_gone else f"no longer answers: {result.message}"
        await self._transitions.change(
            replica,
            "REPLICA_UNHEALTHY",
            text,
            kind="WARNING",
            state=ReplicaState.UNHEALTHY,
            reason="MODEL_GONE" if result.model_gone else "PROBE_FAILED",
            message=text,
        )

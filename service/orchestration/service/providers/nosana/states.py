"""What an instance is, by what Nosana says of its deployment and its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.service.providers.base import InstanceState
from orchestration.service.providers.nosana.flows import Flow
from orchestration.service.providers.nosana.models import NosanaDeployment, NosanaJob

INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
_SIGNALS = 128
"""A container that a signal ended exits with this and the signal's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at a deployment."""

    deployment: NosanaDeployment
    jobs: Sequence[NosanaJob]
    """Oldest first."""

    @property
    def running(self) -> NosanaJob | None:
        """The latest job that runs."""
        return next((job for job in reversed(self.jobs) if job.state == "RUNNING"), None)

    @property
    def over(self) -> NosanaJob | None:
        """The job that was the last, once nothing runs or will run; None before."""
        status, jobs = self.deployment.status, self.jobs
        if not jobs or not all(job.ended for job in jobs):
            return None
        # Kept at its number of jobs by Nosana, until it is stopped.
        goes_on = self.deployment.strategy == "INFINITE" and status in {"STARTING", "RUNNING"}
        return None if goes_on else jobs[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a job ended: its result, as far as it is there."""

    flow: Flow | None = None
    awaited: bool = False
    """It is not there yet, and is still to be waited for."""


def describe(seen: Seen, ending: Ending, trouble: str) -> dict[str, Any]:
    """The state, and what goes with it, as fields of `Instance`; ``trouble``: what Nosana last said went wrong."""
    deployment = seen.deployment
    match deployment.status:
        case "INSUFFICIENT_FUNDS":
            text = "the account has too few credits at Nosana for the replica to run on"
            return _failed(INSUFFICIENT_FUNDS, f"{text}: {trouble}" if trouble else text)
        case "ERROR":
            return _failed("NOSANA_ERROR", trouble or "Nosana says that the deployment has an error, and not which")
        case "STOPPING":
            return {"state": InstanceState.STOPPING, "message": "Nosana is stopping it"}
        case _:
            pass
    if seen.over is not None and not ending.awaited:
        return _ended(ending.flow)
    if deployment.status in {"STOPPED", "ARCHIVED"} and seen.over is None:
        if seen.jobs:
            return {"state": InstanceState.STOPPING, "message": "Nosana has stopped it, and its host is ending the job"}
        return _failed("NOSANA_STOPPED", f"the deployment is {deployment.status} at Nosana, and no job of it ran")
    if seen.running is not None or seen.over is not None:
        return _running(seen)
    if any(job.ended for job in seen.jobs):  # between two jobs of a deployment that goes on
        return _running(seen)
    return {"state": InstanceState.PENDING, "message": _waits_for(seen), "endpoint": _endpoint(seen)}


def _waits_for(seen: Seen) -> str:
    if seen.deployment.status == "DRAFT":
        return "it is a draft that has not been started yet"
    if not seen.jobs:
        return "Nosana has not listed its job yet"
    return f"its job waits for a host of market {seen.deployment.market}"


def _endpoint(seen: Seen) -> str:
    """The address that all jobs of the deployment share, known from its beginning; empty where it is not told."""
    return next(iter(seen.deployment.endpoints), "")


def _running(seen: Seen) -> dict[str, Any]:
    first = next((job.started_at for job in seen.jobs if job.started_at), 0.0)
    last = seen.running or seen.jobs[-1]
    return {
        "state": InstanceState.RUNNING,
        "endpoint": _endpoint(seen),
        "hostname": last.node,
        "started_at": last.started_at or first or last.created_at,
    }


def _failed(reason: str, message: str) -> dict[str, Any]:
    return {"state": InstanceState.FAILED, "reason": reason, "message": message}


def _ended(flow: Flow | None) -> dict[str, Any]:
    if flow is None:
        text = "its job has ended, and no result of it is to be had"
        return {"state": InstanceState.EXITED, "reason": "NO_RESULT", "message": text}
    code, said = flow.exit_code, f": {flow.error}" if flow.error else ""
    if flow.out_of_memory:
        return {
            "state": InstanceState.EXITED,
            "exit_code": code,
            "reason": "OOM_KILLED",
            "message": "its host ran out of memory",
        }
    if flow.host_shut_down:
        return _failed("HOST_SHUT_DOWN", f"its host was shut down{said}")
    if flow.expired:
        return _failed("JOB_EXPIRED", f"its job came to the end of its time-out and was not extended{said}")
    if flow.stopped and code in (None, _SIGNALS + 9, _SIGNALS + 15):
        return _failed("JOB_STOPPED", f"its job was stopped, and not by this gateway{said}")
    if code is None:
        return _failed("ENGINE_NOT_STARTED", flow.error or "its host could not start the engine, and does not say why")
    return {
        "state": InstanceState.EXITED,
        "exit_code": code,
        "signal": code - _SIGNALS if _SIGNALS < code <= _SIGNALS + 64 else None,
        "reason": "EXITED",
        "message": f"the engine exited with code {code}{said}",
    }

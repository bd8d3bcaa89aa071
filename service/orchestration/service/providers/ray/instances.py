"""A job as an instance."""

from __future__ import annotations

from orchestration.service.providers.base import Instance, InstanceState
from orchestration.service.providers.ray import launcher
from orchestration.service.providers.ray.answers import DEPLOYMENT, PRICE, REPLICA, Job, JobStatus, Node
from orchestration.service.providers.ray.joblog import Report

_LONGEST_MESSAGE = 500
NODE_LOST = "NODE_LOST"


def to_instance(job: Job, report: Report | None, *, stopping: bool, lost: Node | None) -> Instance:
    """What Ray tells of the job, with what its launcher told; ``lost``: its node, where that is dead."""
    state, reason, message, exit_code, signal = _state(job, report, stopping=stopping, lost=lost)
    started_at = report.started_at if report is not None else 0.0
    if not started_at and job.status is not JobStatus.PENDING:
        started_at = (job.start_time or 0) / 1000
    return Instance(
        name=job.name,
        provider_instance_id=job.name,
        state=state,
        endpoint=report.endpoint if report is not None else "",
        exit_code=exit_code,
        signal=signal,
        reason=reason,
        message=message,
        hostname=job.hostname,
        gpu_ids=report.gpu_ids if report is not None else (),
        price_per_hour=job.number(PRICE),
        started_at=started_at,
        deployment_id=job.told(DEPLOYMENT),
        replica_id=job.told(REPLICA),
    )


_State = tuple[InstanceState, str, str, int | None, int | None]
"""State, reason, message, exit code and signal."""


def _state(job: Job, report: Report | None, *, stopping: bool, lost: Node | None) -> _State:
    if stopping:
        return InstanceState.STOPPING, "", "", None, None
    if job.live and lost is not None:
        why = f": {lost.state_message}" if lost.state_message else ""
        return InstanceState.FAILED, NODE_LOST, f"its node {lost.node_name or lost.node_id} is dead{why}", None, None
    match job.status:
        case JobStatus.PENDING:
            return InstanceState.PENDING, "", _short(job), None, None
        case JobStatus.RUNNING if report is None:
            return InstanceState.PENDING, "", "the job runs, and has not told yet where the engine listens", None, None
        case JobStatus.RUNNING:
            return InstanceState.RUNNING, "", "", None, None
        case JobStatus.SUCCEEDED:
            return InstanceState.EXITED, "EXITED", "", 0, None
        case JobStatus.STOPPED:
            return InstanceState.EXITED, "JOB_STOPPED", "its job was stopped, and not by this gateway", None, None
        case JobStatus.FAILED:
            return _failed(job)


def _failed(job: Job) -> _State:
    code = job.driver_exit_code
    if code is None:
        return InstanceState.FAILED, job.error_type or "JOB_FAILED", _short(job), None, None
    if code < 0:
        return InstanceState.EXITED, "SIGNALED", "", None, -code
    if code == launcher.NOT_FOUND:
        text = "the engine's program, or the Python that starts it, was not found on the node"
        return InstanceState.EXITED, "ENGINE_NOT_FOUND", text, code, None
    return InstanceState.EXITED, "EXITED", "", code, None


def _short(job: Job) -> str:
    return " ".join((job.message or "").split())[:_LONGEST_MESSAGE]

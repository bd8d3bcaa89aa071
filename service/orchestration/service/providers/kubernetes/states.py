"""What a Pod says of the replica in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestration.service.providers.base import Instance, InstanceState
from orchestration.service.providers.kubernetes import names
from orchestration.service.providers.kubernetes.names import Json, listed, part
from orchestration.service.providers.plain_text import plain

_NEVER = {"InvalidImageName", "ErrImageNeverPull"}
"""Reasons for which a container waits, and would wait for ever."""
_SIGNAL_BASE = 128
"""A container that a signal ended has this and the signal's number as its exit code."""
_LAST_SIGNAL = 64
_NOTHING: Json = {}
_CANNOT_START = {"StartError", "ContainerCannotRun"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of a Pod, with why."""

    state: InstanceState
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    signal: int | None = None


def to_instance(pod: Json, place: str, endpoint: str, now: float, start_timeout_s: float) -> Instance:
    """The instance; ``now``: Unix seconds, by which a Pod that has waited too long is told from one that may start."""
    found = look(pod, now, start_timeout_s)
    noted = names.notes(pod)
    return Instance(
        name=noted.get(names.INSTANCE, ""),
        provider_instance_id=f"{place}/{pod['metadata']['name']}",
        state=found.state,
        endpoint=endpoint,
        exit_code=found.exit_code,
        signal=found.signal,
        reason=plain(found.reason),
        message=plain(found.message),  # a container may have written it
        hostname=str(pod["spec"].get("nodeName") or ""),
        price_per_hour=names.noted_number(pod, names.PRICE),
        started_at=_started_at(pod),
        deployment_id=noted.get(names.DEPLOYMENT_ID, ""),
        replica_id=noted.get(names.REPLICA_ID, ""),
    )


def look(pod: Json, now: float, start_timeout_s: float) -> Finding:
    """What the Pod's status comes to."""
    status = part(pod, "status")
    if pod["metadata"].get("deletionTimestamp"):
        return Finding(InstanceState.STOPPING, message=_why_deleted(pod))
    state = part(container(pod), "state")
    if state.get("terminated"):
        return ended(pod, state["terminated"])
    if status.get("phase") in {"Failed", "Succeeded"}:
        reason = _upper_snake(str(status.get("reason") or "POD_FAILED"))
        return Finding(
            InstanceState.FAILED, reason, str(status.get("message") or "the Pod ended without its container")
        )
    if state.get("running"):
        return Finding(InstanceState.RUNNING)
    if status.get("phase") == "Unknown":  # its node is not heard of, and the engine itself is asked besides
        return Finding(InstanceState.RUNNING)
    return _waiting(pod, part(state, "waiting"), now, start_timeout_s)


def container(pod: Json) -> Json:
    """Status of the engine's container; empty while there is none."""
    statuses: list[Json] = listed(part(pod, "status"), "containerStatuses")
    return next((item for item in statuses if item.get("name") == names.CONTAINER), _NOTHING)


def unschedulable(pod: Json) -> str:
    """Why the scheduler found no node; empty when it did, or has not looked yet, or makes room by preemption."""
    found = condition(pod, "PodScheduled")
    if found.get("status") == "False" and found.get("reason") == "Unschedulable":
        waits_for_room = part(pod, "status").get("nominatedNodeName")
        return "" if waits_for_room else str(found.get("message") or "no node takes the Pod")
    return ""


def seconds(text: object) -> float:
    """Unix seconds of a time as Kubernetes writes it; 0 for none."""
    return datetime.fromisoformat(str(text)).timestamp() if text else 0.0


def _waiting(pod: Json, waiting: Mapping[str, Any], now: float, start_timeout_s: float) -> Finding:
    reason, text = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    if not reason and unschedulable(pod):
        reason, text = "Unschedulable", unschedulable(pod)
    message = ": ".join(part for part in (reason, text) if part)
    waited_s = now - _waits_since(pod, reason)
    last = part(container(pod), "lastState", "terminated")
    if reason == "CrashLoopBackOff" and last:
        return ended(pod, last)
    too_long = reason not in {"", "ContainerCreating", "PodInitializing"} and waited_s > start_timeout_s
    if reason in _NEVER or too_long:
        late = f" (for {waited_s:.0f} s)" if too_long else ""
        return Finding(InstanceState.FAILED, _upper_snake(reason), message + late)
    return Finding(InstanceState.PENDING, _upper_snake(reason), message)


def _waits_since(pod: Json, reason: str) -> float:
    """Unix seconds by the gateway's clock, which need not be the cluster's: of that, differences alone count."""
    created = seconds(pod["metadata"].get("creationTimestamp"))
    began = names.noted_number(pod, names.CREATED_AT) or created
    scheduled = seconds(condition(pod, "PodScheduled").get("lastTransitionTime"))
    return began if reason == "Unschedulable" else began + max(0.0, scheduled - created)


def ended(pod: Json, terminated: Mapping[str, Any]) -> Finding:
    """How the Pod's container ended."""
    code = int(terminated.get("exitCode") or 0)
    reason, said = str(terminated.get("reason") or ""), str(terminated.get("message") or "").strip()
    told = str(part(pod, "status").get("message") or "")
    if reason in _CANNOT_START:
        return Finding(InstanceState.FAILED, "ENGINE_NOT_STARTED", f"the container cannot be started: {said}")
    signal = int(terminated.get("signal") or 0) or code - _SIGNAL_BASE
    signal = signal if 0 < signal <= _LAST_SIGNAL else 0
    if reason == "OOMKilled":
        text = f"the container was ended for want of memory (exit code {code})"
        return Finding(InstanceState.EXITED, "OOM_KILLED", text, code, signal or None)
    if part(pod, "status").get("reason"):  # Evicted, NodeShutdown and the like
        why = _upper_snake(str(pod["status"]["reason"]))
        return Finding(InstanceState.EXITED, why, told or f"the Pod was ended: {why}", code, signal or None)
    if signal:
        text = f"the container ended with exit code {code}: signal {signal}"
        return Finding(InstanceState.EXITED, "SIGNALED", text, code, signal)
    return Finding(InstanceState.EXITED, "EXITED", f"the engine exited with code {code}", code)


def _why_deleted(pod: Json) -> str:
    """Of a Pod that somebody else deletes: a drain, a preemption, a taint."""
    found = condition(pod, "DisruptionTarget")
    return f"its Pod is being deleted: {found.get('message') or found.get('reason')}" if found else ""


def condition(pod: Json, kind: str) -> Json:
    """The Pod's condition of the kind; empty while there is none."""
    conditions: list[Json] = listed(part(pod, "status"), "conditions")
    return next((item for item in conditions if item.get("type") == kind), _NOTHING)


def _started_at(pod: Json) -> float:
    state = part(container(pod), "state")
    return seconds((part(state, "running") or part(state, "terminated")).get("startedAt"))


def _upper_snake(reason: str) -> str:
    """``ImagePullBackOff`` as IMAGE_PULL_BACK_OFF.

    >>> _upper_snake("ImagePullBackOff"), _upper_snake("OOMKilled"), _upper_snake("POD_FAILED")
    ('IMAGE_PULL_BACK_OFF', 'OOM_KILLED', 'POD_FAILED')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", reason).upper()

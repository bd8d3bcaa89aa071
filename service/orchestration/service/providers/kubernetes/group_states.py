"""What the Pods of a group say of the replica in them: one that fails is the replica failing, with which and why.

Containers of a group are restarted in place by the kubelet, and Pods that go are made again: nobody can turn that off.
Either is the end of the attempt all the same, since the others' processes do not take a new one in.
"""

from __future__ import annotations

from dataclasses import replace

from orchestration.service.providers.base import Instance, InstanceState
from orchestration.service.providers.kubernetes import names
from orchestration.service.providers.kubernetes.groups import Group, index
from orchestration.service.providers.kubernetes.names import Json, part
from orchestration.service.providers.kubernetes.states import Finding, condition, container, ended, look, seconds
from orchestration.service.providers.kubernetes.states import to_instance as of_pod
from orchestration.service.providers.plain_text import plain

BROKEN = "GROUP_BROKEN"
"""A Pod of the group is gone, or another one by now."""
INCOMPLETE = "GROUP_INCOMPLETE"
"""Not all Pods were made in time."""
_OVER = {InstanceState.EXITED, InstanceState.FAILED}


def to_instance(group: Group, place: str, endpoint: str, now: float, start_timeout_s: float) -> Instance:
    """The instance; as `states.to_instance`."""
    leader = group.leader
    name = names.notes(leader).get(names.INSTANCE, "")
    seen = of_pod(leader, place, endpoint, now, start_timeout_s)
    found = look_at(group, now, start_timeout_s)
    return replace(
        seen,
        name=name,
        provider_instance_id=f"{place}/{group.name}",
        state=found.state,
        exit_code=found.exit_code,
        signal=found.signal,
        reason=plain(found.reason),
        message=plain(found.message),  # containers may have written it
    )


def look_at(group: Group, now: float, start_timeout_s: float) -> Finding:
    """What all Pods together come to."""
    if group.being_deleted:
        return Finding(InstanceState.STOPPING)
    over = [(pod, found) for pod in group.pods if (found := _end(pod, now, start_timeout_s))]
    if over:
        return _told(group, *min(over, key=lambda item: _precedence(*item)))
    broken = _broken(group)
    if broken:
        return Finding(InstanceState.FAILED, BROKEN, broken)
    for pod in group.pods:
        found = look(pod, now, start_timeout_s)
        if found.state is not InstanceState.RUNNING:
            return _told(group, pod, found)
    return _all_run(group, now, start_timeout_s)


def _all_run(group: Group, now: float, start_timeout_s: float) -> Finding:
    if len(group.pods) >= group.size:
        return Finding(InstanceState.RUNNING)
    text = f"{len(group.pods)} of its {group.size} Pods are made"
    waited_s = now - names.noted_number(group.leader, names.CREATED_AT)
    if waited_s <= start_timeout_s:
        return Finding(InstanceState.PENDING, "", text)
    name = group.leader["metadata"]["name"]
    hint = f"the events of {name} and of its StatefulSets say why: a quota, say, or no LeaderWorkerSet controller"
    return Finding(InstanceState.FAILED, INCOMPLETE, f"{text} (for {waited_s:.0f} s); {hint}")


def _end(pod: Json, now: float, start_timeout_s: float) -> Finding | None:
    """How the Pod ended, or its container did the first time."""
    last = part(container(pod), "lastState", "terminated")
    if last:
        return ended(pod, last)
    if pod["metadata"].get("deletionTimestamp"):
        why = look(pod, now, start_timeout_s).message or "its Pod is being deleted"
        return Finding(InstanceState.FAILED, BROKEN, why)
    found = look(pod, now, start_timeout_s)
    return found if found.state in _OVER else None


def _precedence(pod: Json, found: Finding) -> tuple[bool, float, int]:
    """Lowest of the one that tells: a leader that has done its work, else what ended first, as the others followed."""
    status = container(pod)
    terminated = part(status, "lastState", "terminated") or part(status, "state", "terminated")
    number = index(pod)
    return number > 0 or found.exit_code != 0, seconds(terminated.get("finishedAt")) or float("inf"), number


def _told(group: Group, pod: Json, found: Finding) -> Finding:
    """The finding as the replica's: whose it is, and a worker that ends well has failed to stay."""
    number = index(pod)
    if number == 0:
        return found
    node = f" on node {pod['spec']['nodeName']}" if pod["spec"].get("nodeName") else ""
    said = str((part(container(pod), "lastState", "terminated") or {}).get("message") or "").strip()
    message = f"worker {number} of {group.size - 1}{node}: {found.message or found.reason or 'waits'}"
    message += f": {said}" if said and said not in message else ""
    if found.exit_code == 0:
        return Finding(InstanceState.FAILED, BROKEN, message)
    return replace(found, message=message)


def _broken(group: Group) -> str:
    """Which Pod is missing, or was made again, since the engine was ready, which it is with all of them; else empty."""
    ready = condition(group.leader, "Ready")
    if ready.get("status") != "True":
        return ""
    for pod in group.pods:
        if seconds(pod["metadata"].get("creationTimestamp")) > seconds(ready.get("lastTransitionTime")):
            return (
                f"the Pod of worker {index(pod)} of {group.size - 1} was made again, and the engine does not take it in"
            )
    if len(group.pods) < group.size:
        there = {index(pod) for pod in group.pods}
        gone = ", ".join(str(number) for number in range(group.size) if number not in there)
        return f"the Pod of worker {gone} of {group.size - 1} is gone"
    return ""

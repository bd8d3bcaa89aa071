"""Instances as they are now: what lies on disk, and whether a supervisor lives."""

from __future__ import annotations

import signal
import socket
from dataclasses import dataclass

from orchestration.service.providers.base import Instance, InstanceState
from orchestration.service.providers.local.records import CorruptRecordError, InstanceFolder, SpecRecord, StateRecord
from orchestration.service.providers.local.shim.statefile import boot_id


@dataclass(frozen=True, slots=True)
class View:
    """One look at an instance's folder."""

    folder: InstanceFolder
    supervised: bool
    """A supervisor lives, or someone is creating or removing the instance."""
    deleting: bool
    spec: SpecRecord | None = None
    state: StateRecord | None = None
    corrupt: str = ""
    """Which record cannot be read, and why."""

    @property
    def live(self) -> bool:
        """A process may exist or is about to: its port and GPUs are taken."""
        return self.supervised and not (self.state and self.state.phase != "running")

    @property
    def lost(self) -> bool:
        """The record says that the engine runs, and nobody watches over it."""
        return not self.supervised and self.state is not None and self.state.phase == "running"

    def owned_by(self, owner: str) -> bool:
        """Whether it is this installation's; one whose intent cannot be read lies in its folder, and counts as its."""
        return self.recorded and (self.spec is None or self.spec.owner == owner)

    @property
    def recorded(self) -> bool:
        """There is something to tell: a folder alone, without an intent, is a creation that has only begun."""
        return self.spec is not None or bool(self.corrupt)


def look(folder: InstanceFolder) -> View | None:
    """What is there now; None when there is no folder."""
    # The lock first: a supervisor records the end before it lets go, so a lock found free means a record that is final.
    supervised = folder.locked()
    deleting = folder.deleting()
    spec: SpecRecord | None = None
    state: StateRecord | None = None
    try:
        spec = folder.spec()
        state = folder.state()
    except CorruptRecordError as error:
        return View(folder, supervised, deleting, spec, state, str(error))
    return View(folder, supervised, deleting, spec, state) if folder.exists() else None


def to_instance(view: View, price_per_hour: float) -> Instance:
    """The view in the provider protocol's words."""
    spec, state = view.spec, view.state
    instance_state, reason, message = _condition(view)
    return Instance(
        name=view.folder.name,
        provider_instance_id=f"{socket.gethostname()}/{view.folder.name}",
        state=instance_state,
        endpoint=spec.endpoint if spec else "",
        exit_code=state.exit_code if state else None,
        signal=state.signal if state else None,
        reason=reason,
        message=message,
        hostname=socket.gethostname(),
        gpu_ids=spec.gpu_ids if spec else (),
        price_per_hour=price_per_hour,
        started_at=state.started_at if state else 0.0,
        deployment_id=spec.deployment_id if spec else "",
        replica_id=spec.replica_id if spec else "",
    )


def lost_state(state: StateRecord | None, ended_at: float) -> StateRecord:
    """What to record of an instance whose supervisor is gone."""
    before = state or StateRecord(phase="running")
    rebooted = before.boot_id not in ("", boot_id())
    message = (
        "the machine was restarted"
        if rebooted
        else "the supervisor process is gone; the engine was killed, since nothing would have kept its output"
    )
    changes = {"phase": "failed", "ended_at": ended_at, "reason": "SUPERVISOR_LOST", "message": message}
    return before.model_copy(update=changes)


def _condition(view: View) -> tuple[InstanceState, str, str]:
    if view.deleting:
        return InstanceState.STOPPING, "", ""
    if view.corrupt:
        return InstanceState.FAILED, "CORRUPT_STATE", view.corrupt
    state = view.state
    if state is None:
        return InstanceState.PENDING, "", ""
    if state.phase == "running":
        return InstanceState.RUNNING, "", ""
    if state.phase == "failed":
        return InstanceState.FAILED, state.reason, state.message
    return InstanceState.EXITED, *_end(state)


def _end(state: StateRecord) -> tuple[str, str]:
    if state.oom_killed:
        return "OOM_KILLED", "the engine was killed by the kernel: its control group ran out of memory"
    if state.signal is None:
        return "EXITED", f"the engine exited with code {state.exit_code}"
    try:
        name = signal.Signals(state.signal).name
    except ValueError:
        name = "a real-time signal"
    by = " after its supervisor was told to stop" if state.stopped else ""
    return "SIGNALED", f"the engine was ended by signal {state.signal} ({name}){by}"

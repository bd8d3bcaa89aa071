"""What Ray's API answers, as far as it is used here; fields that are not named are ignored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from orchestration.service.providers.plain_text import plain

OWNER = "orchestration.owner"
DEPLOYMENT = "orchestration.deployment"
REPLICA = "orchestration.replica"
TOKEN = "orchestration.token"  # noqa: S105  a key: the token tells whose lines of a log are whose, and opens nothing
NODE = "orchestration.node"
OTHER_NODES = "orchestration.other-nodes"
PRICE = "orchestration.price"
RESERVED = {"CPU": "orchestration.cpus", "GPU": "orchestration.gpus", "memory": "orchestration.memory"}
"""Keys of a job's metadata. `NODE`: the id of the node that it is pinned to; `OTHER_NODES`: those that its engine
is to have workers on besides, with commas; `PRICE`: of an hour of it; `RESERVED`: by
Ray's name of a resource, how much of it the job holds (of GPUs: on each of its nodes), memory in bytes."""


def _plain(value: object) -> object:
    return plain(value) if isinstance(value, str) else value


_Text = Annotated[str, BeforeValidator(_plain)]
"""Anybody may give jobs to a cluster: what they wrote must not keep its other jobs from being read."""
_Amount = Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)]
_Milliseconds = Annotated[int, Field(ge=0, lt=253_402_300_800_000)]
"""Before the year 10000, as time stamps have it."""
_ExitCode = Annotated[int, Field(ge=-(2**31), lt=2**31)]


class JobStatus(StrEnum):
    """Ray's own words."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Job(_Answer):
    """A submitted job."""

    type: str
    submission_id: _Text | None = None
    status: JobStatus
    message: _Text | None = None
    error_type: _Text | None = None
    start_time: _Milliseconds | None = None
    """Milliseconds since 1970 at which it was submitted."""
    metadata: Mapping[_Text, _Text] | None = None
    driver_agent_http_address: _Text | None = None
    driver_node_id: _Text | None = None
    driver_exit_code: _ExitCode | None = None
    """Below 0: the signal that ended it."""

    @property
    def name(self) -> str:
        """The submission id."""
        return self.submission_id or ""

    @property
    def live(self) -> bool:
        """Whether it runs, or may yet."""
        return self.status in {JobStatus.PENDING, JobStatus.RUNNING}

    def told(self, key: str) -> str:
        """What its metadata holds under the key; empty without."""
        return (self.metadata or {}).get(key, "")

    def number(self, key: str) -> float:
        """The same as a number, 0.0 or more; 0.0 where it is none."""
        return _number(self.told(key))

    @property
    def node_id(self) -> str:
        """The node that it runs on, or is pinned to."""
        return self.driver_node_id or self.told(NODE)

    @property
    def planned_on(self) -> tuple[str, ...]:
        """The nodes that are to hold it, the job's own first."""
        others = self.told(OTHER_NODES)
        return tuple(filter(None, (self.node_id, *others.split(","))))

    @property
    def hostname(self) -> str:
        """The address of the node that it runs on."""
        try:
            return urlsplit(self.driver_agent_http_address or "").hostname or ""
        except ValueError:
            return ""


class Node(_Answer):
    """A node, alive or dead."""

    node_id: _Text
    node_ip: _Text = ""
    node_name: _Text = ""
    is_head_node: bool = False
    state: str
    state_message: _Text | None = None
    resources_total: Mapping[_Text, _Amount] = {}
    labels: Mapping[_Text, _Text] = {}

    @property
    def alive(self) -> bool:
        """Whether work can be given to it."""
        return self.state == "ALIVE"


class _NodePage(_Answer):
    result: list[Node]
    partial_failure_warning: _Text | None = None


class _NodeData(_Answer):
    result: _NodePage


class NodesAnswer(_Answer):
    """``GET /api/v0/nodes``."""

    result: bool
    msg: _Text = ""
    data: _NodeData


class _UsageData(_Answer):
    usage: Mapping[_Text, _Text] = Field(alias="nodeLogicalResources")


class UsageAnswer(_Answer):
    """``GET /nodes?view=summary``: by node id, lines such as ``1.0/2.0 CPU``."""

    data: _UsageData

    def used(self) -> dict[str, dict[str, float]]:
        """By node id, how much of each resource is taken; it lags some seconds behind."""
        return {node: _taken(text) for node, text in self.data.usage.items()}


def _taken(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in text.splitlines():
        numbers, _, kind = line.strip().partition(" ")
        found[kind] = _number(numbers.partition("/")[0])  # 0.0 of sizes, such as 0B/16.11GiB: not counted by
    return found


def _number(text: str) -> float:
    try:
        value = float(text or 0.0)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and value > 0 else 0.0


JOBS: TypeAdapter[list[Job]] = TypeAdapter(list[Job])

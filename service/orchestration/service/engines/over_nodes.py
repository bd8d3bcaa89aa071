"""Engines over several nodes: which can, in which way, and how each of their processes is started then.

Tensor parallel within a node and pipeline parallel across nodes, as the engines' own guides have it, unless the
configuration says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestration.service.engines.base import GROUP, RAY, EngineRequest, OverNodes
from orchestration.service.engines.engine import Engine, Settings
from orchestration.service.engines.keys import GPUS_PER_NODE, LEADER, NODE_RANK, NODES, Setting

MULTI_NODE = "multi_node"
"""Key by which a server of the user's own says that it can run over several nodes, and how."""

_WORDS = {GROUP: "as one process on each", RAY: "by the Ray cluster that it is in"}


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether a deployment's engine can run over several nodes."""

    ways: tuple[str, ...]
    """Of ``ray`` and ``group``; empty: it cannot."""
    why_not: str = ""
    """Why in no way, or not in another."""
    stage: int = 0
    """GPUs that one stage is split over, as the configuration has it; 0: those of one node."""
    gpus: int = 0
    """Of all stages."""

    def splits_over(self, each: int) -> bool:
        """Whether stages and nodes with so many GPUs each go together: some stages a node, or some nodes a stage.

        With anything else the engines place stages across the ends of nodes, or start another number of processes than
        there are GPUs. SGLang's ranks want stages to be a multiple of nodes or the other way round, which is the same.
        """
        return not self.stage or _go_together(self.stage, each)

    def why_not_over(self, nodes: int, each: int) -> str:
        """Why not, with what would."""
        fitting = [str(size) for size in range(1, self.gpus + 1) if self.gpus % size == 0 and _go_together(size, each)]
        text = (
            f"{nodes} nodes with {each} GPUs each do not go with stages over {self.stage} GPUs: one must be a multiple"
        )
        return f"{text} of the other; tensor_parallel_size may be {', '.join(fitting)}"

    def preference(self, nodes: int, each: int) -> tuple[bool, int]:
        """Of several ways to split the same GPUs, the lowest is the best.

        Stages that keep within a node, where the configuration says how large they are. Else a power of two on each
        node, and not one alone: attention heads are split over them, whose number such divide. Then the fewest nodes.
        """
        if self.stage:
            return each % self.stage != 0, nodes
        return each < 2 or each & (each - 1) != 0, nodes


def reach(engine: Engine, gpus: int, configuration: Mapping[str, object]) -> Reach:
    """In which ways the engine runs over several nodes with so many GPUs in all."""
    if engine.takes_multi_node:
        way = configuration.get(MULTI_NODE)
        if isinstance(way, str):
            return Reach((way,), f"configuration.{MULTI_NODE} is {way!r}, which is not how this provider does it")
        said = f"engine {engine.name} runs over several nodes where configuration.{MULTI_NODE} says how"
        return Reach((), f"{said}: {GROUP} or {RAY}")
    if not engine.ways:
        return Reach((), f"engine {engine.name} cannot run over several nodes")
    tensor, pipeline = (_count(configuration.get(key)) for key in (engine.gpu_key, engine.pipeline_key))
    if gpus % ((tensor or 1) * (pipeline or 1)) or (tensor and pipeline and tensor * pipeline != gpus):
        keys = " x ".join(
            f"{key} {count}" for key, count in ((engine.gpu_key, tensor), (engine.pipeline_key, pipeline)) if count
        )
        return Reach((), f"over several nodes engine {engine.name} uses all {gpus} GPUs, and {keys} does not")
    only = " or ".join(_WORDS[way] for way in engine.ways)
    why_not = f"engine {engine.name} runs over several nodes {only}, and not otherwise"
    return Reach(engine.ways, why_not, tensor or (gpus // pipeline if pipeline else 0), gpus)


def _go_together(stage: int, each: int) -> bool:
    return stage % each == 0 or each % stage == 0


def over_nodes(engine: Engine, request: EngineRequest, settings: Settings) -> OverNodes:
    """The commands; ``settings``: the checked configuration with the defaults that apply on one node.

    Words may hold ``{nodes}`` and ``{gpus_per_node}``, those of a group ``{node_rank}`` and ``{leader}`` besides.
    """
    ways = reach(engine, request.gpu_per_replica, {**request.configuration}).ways
    if request.gpu_per_replica < 2 or not ways:
        return OverNodes()
    split = settings if engine.takes_multi_node else {**settings, **_split(engine, request)}

    def command(way: str, *extra: str) -> tuple[str, ...]:
        return engine.command(request, split, extra) if way in ways else ()

    return OverNodes(
        ray=command(RAY, *engine.ray_arguments),
        leader=command(GROUP, *engine.group_arguments),
        worker=command(GROUP, *engine.group_arguments, *engine.worker_arguments),
    )


def alone(command: tuple[str, ...], request: EngineRequest) -> tuple[str, ...]:
    """The command of a server that might have several nodes, and has one."""
    values = {NODES: "1", GPUS_PER_NODE: str(request.gpu_per_replica), NODE_RANK: "0", LEADER: "{host}"}
    return filled(command, values) if request.configuration.get(MULTI_NODE) else command


def filled(command: tuple[str, ...], values: Mapping[str, str]) -> tuple[str, ...]:
    """The command with each placeholder replaced by its value."""
    words = list(command)
    for placeholder, value in values.items():
        words = [word.replace(placeholder, value) for word in words]
    return tuple(words)


def _split(engine: Engine, request: EngineRequest) -> dict[str, Setting]:
    """Over how many GPUs, and in how many stages: what is not given follows from what is."""
    gpus = request.gpu_per_replica
    tensor, pipeline = (_count(request.configuration.get(key)) for key in (engine.gpu_key, engine.pipeline_key))
    if not tensor and not pipeline:
        return {engine.gpu_key: GPUS_PER_NODE, engine.pipeline_key: NODES}
    tensor = tensor or gpus // pipeline
    return {engine.gpu_key: tensor, engine.pipeline_key: pipeline or gpus // tensor}


def _count(value: object) -> int:
    """A whole number from a configuration that was checked before; 0 where none is given."""
    return int(value) if isinstance(value, int | float) else 0

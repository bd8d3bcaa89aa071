"""``docs/engines.md``, made from the table: ``python -m orchestration.service.engines.documentation`` prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from orchestration.service.engines.artifacts import ACCEPTED
from orchestration.service.engines.base import GROUP, RAY
from orchestration.service.engines.common_keys import COMMON_KEYS
from orchestration.service.engines.engine import Engine
from orchestration.service.engines.keys import Key
from orchestration.service.engines.table import ENGINES

_INTRODUCTION = f"""\
# Engines

An engine is a row of a table: how it is started, where it answers, what ready means, and which keys the `configuration`
of a deployment may hold. A key that an engine does not know, a value of another type or out of range, and a model in a
form that the engine cannot load are refused when the deployment is made, each with its name; nothing is ignored.

This page is made from the table: `python -m orchestration.service.engines.documentation > docs/engines.md`.

Where the section of an engine says that its model is asked for, ready also needs that `GET` of that path lists the
name, and every third probe of a ready replica asks again: a replica whose model is gone is replaced like one that does
not answer. An answer that does not tell (401, 403, 404 and any other 4xx, or no list of models) counts as served, as
does a name that `args` sets.

A model is one of {ACCEPTED}. Numbers may be written with or without a point: `8080.0` is 8080.
"""
_WAYS = {
    GROUP: "started on each of them (kubernetes)",
    RAY: "through the Ray cluster that it is in (ray)",
}
_COMMON = """\
## Keys of every engine

`command`, `args` and values of `env` may hold `{port}`, `{host}` and `{model}`, which are replaced where the replica
runs. Flags and variables that a row sets itself cannot be given again. `PORT`, `HOST` and `MODEL` are always set.

A replica that is larger than a node (`gpu_per_replica`) runs over several of them where its provider and its engine
can: the section of an engine says so, and others are refused. `tensor_parallel_size` is then the GPUs of one node, and
`pipeline_parallel_size` the number of nodes, unless the configuration says otherwise; together they make all GPUs.

Without either, the GPUs are split over the fewest nodes with a power of two on each, from 2 on (12 over 3 nodes with
4, 24 over 3 with 8), as attention heads are split over them; where there is no such split, over the fewest nodes. With
`tensor_parallel_size`, over the fewest nodes whose GPUs are a multiple of it, or else of which it is a multiple; where
there is neither, the replica is refused, with the sizes that would do.
"""


def render() -> str:
    """The whole page."""
    parts = [_INTRODUCTION, _overview(), _COMMON, _keys(COMMON_KEYS), *(_section(engine) for engine in ENGINES)]
    return "\n".join(parts)


def _overview() -> str:
    header = ("Engine", "Starts", "Port", "Ready", "Metrics", "OpenAI API", "Workloads", "Starts within")
    return _table(header, (_row(engine) for engine in ENGINES))


def _row(engine: Engine) -> tuple[str, ...]:
    return (
        f"[{engine.name}](#{engine.name})",
        _code(" ".join(engine.executable)) if engine.executable else "`command`",
        str(engine.container_port),
        _code(engine.health_path),
        _code(engine.metrics_path),
        _code(engine.openai_path),
        ", ".join(engine.workload_types),
        f"{engine.startup_timeout_s:.0f} s",
    )


def _section(engine: Engine) -> str:
    images = " or, without a GPU, ".join(_code(image) for image in (engine.image, engine.cpu_image) if image)
    lines = [
        f"## {engine.name}\n",
        f"{engine.title}. Ready means: {engine.ready_means}.\n",
        *([f"{engine.notes}\n"] if engine.notes else []),
        f"- Loads: {', '.join(_code(form.example) for form in engine.forms)}",
        f"- Image: {images or 'none; give `image` to providers that run containers'}",
        f"- Not installed: {engine.install_hint}",
    ]
    if engine.served_name_key:
        asked = f"{engine.openai_path}/models"
        lines.append(f"- Asked for its model: {_code(asked)} must list `{engine.served_name_key}`")
    if engine.ways:
        lines.append(f"- Over several nodes: {', '.join(_WAYS[way] for way in engine.ways)}")
    if engine.own_flags:
        lines.append(f"- Sets itself: {', '.join(map(_code, engine.own_flags))}")
    if engine.own_variables:
        lines.append(f"- Sets itself: {', '.join(map(_code, engine.own_variables))}")
    keys = ["", _keys(engine.keys)] if engine.keys else ["", "No keys of its own.\n"]
    return "\n".join([*lines, *keys])


def _keys(keys: Iterable[Key]) -> str:
    rows = ((_code(key.name), key.wanted, _code(key.flag or key.variable), key.about) for key in keys)
    return _table(("Key", "Takes", "Becomes", "Meaning"), rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _code(text: str) -> str:
    return f"`{text}`" if text else "-"


if __name__ == "__main__":
    sys.stdout.write(render())

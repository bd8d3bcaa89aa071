"""The table of engines, and the plan that a row makes of a request."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from orchestration.service.engines.base import EngineConfigurationError, EnginePlan, EngineRequest
from orchestration.service.engines.checks import check
from orchestration.service.engines.custom import CUSTOM
from orchestration.service.engines.embedding_engines import INFINITY, TEI
from orchestration.service.engines.engine import Engine, Settings
from orchestration.service.engines.llamacpp import LLAMACPP
from orchestration.service.engines.ollama import OLLAMA
from orchestration.service.engines.over_nodes import alone, over_nodes
from orchestration.service.engines.sglang import SGLANG
from orchestration.service.engines.tgi import TGI
from orchestration.service.engines.triton import TRITON
from orchestration.service.engines.vllm import VLLM

ENGINES = (VLLM, SGLANG, LLAMACPP, OLLAMA, TEI, INFINITY, TRITON, TGI, CUSTOM)
"""Every row, in the order of the documentation."""
ENGINE_NAMES: tuple[str, ...] = tuple(engine.name for engine in ENGINES)
_BY_NAME = {engine.name: engine for engine in ENGINES}


class UnknownEngineError(ValueError):
    """No engine has this name; the text names those there are."""

    def __init__(self, name: str) -> None:
        near = difflib.get_close_matches(name.lower(), ENGINE_NAMES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(f"{name!r} is no engine; {hint}there are {', '.join(ENGINE_NAMES)}")
        self.name = name


def get_engine(name: str) -> Engine:
    """The row of an engine. Raises `UnknownEngineError`."""
    engine = _BY_NAME.get(name)
    if engine is None:
        raise UnknownEngineError(name)
    return engine


def plan(request: EngineRequest) -> EnginePlan:
    """How to start one replica of what was asked for.

    Raises `UnknownEngineError`, and `EngineConfigurationError` with every issue when the engine cannot honour the
    request.
    """
    engine = get_engine(request.engine)
    settings, issues = check(engine, request)
    if issues:
        raise EngineConfigurationError(issues)
    settings = {**engine.defaults(request), **settings}
    port = settings.get("port", 0)
    served_model = _served_model(engine, settings)
    return EnginePlan(
        engine=engine.name,
        command=alone(engine.command(request, settings), request),
        env=_environment(engine, request, settings),
        image=str(
            settings.get(
                "image", engine.cpu_image if engine.cpu_image and not request.gpu_per_replica else engine.image
            )
        ),
        port=port if isinstance(port, int) else 0,
        container_port=port if isinstance(port, int) and port else engine.container_port,
        health_path=str(settings.get("health_path", engine.health(engine, request))),
        metrics_path=engine.metrics_path,
        openai_path=engine.openai_path,
        startup_timeout_s=_seconds(settings, "startup_timeout_seconds", engine.startup_timeout_s),
        stop_grace_s=_seconds(settings, "stop_grace_seconds", engine.stop_grace_s),
        install_hint=engine.install_hint,
        readiness=engine.readiness,
        models_path=f"{engine.openai_path}/models" if served_model else "",
        served_model=served_model,
        over_nodes=over_nodes(engine, request, settings),
    )


def _served_model(engine: Engine, settings: Settings) -> str:
    """The name under which the engine lists its model; empty when that is not certain."""
    name = settings.get(engine.served_name_key, "")
    args = settings.get("args", ())
    words = args if isinstance(args, tuple) else ()
    renamed = any(word.split("=", 1)[0] in engine.served_name_flags for word in words)
    # A comma separates several names in newer releases of llama.cpp, and is part of the name elsewhere.
    return name if isinstance(name, str) and not renamed and "," not in name else ""


def _environment(engine: Engine, request: EngineRequest, settings: Settings) -> Mapping[str, str]:
    configured = settings.get("env")
    own = engine.environment(request, settings)
    return {**own, **configured, **request.env} if isinstance(configured, Mapping) else {**own, **request.env}


def _seconds(settings: Settings, key: str, default: float) -> float:
    value = settings.get(key, default)
    return float(value) if isinstance(value, int | float) else default

"""What a deployment is to run: the request, the registered model and the engine's defaults, resolved and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestration.service.domain.placement import capacity, never
from orchestration.service.domain.places import PoolView
from orchestration.service.engines.artifacts import local_path
from orchestration.service.engines.base import EnginePlan, EngineRequest
from orchestration.service.engines.table import plan
from orchestration.service.errors import InvalidArgumentError, NotFoundError, PreconditionError, Violation
from orchestration.service.usecases.models import LATEST, check_engine, model_not_found, newest
from orchestration.service.usecases.pool_views import PoolViews
from orchestration.service.usecases.pools import require_pool
from orchestration.store.records import Deployment, Model, Pool, PoolState
from orchestration.store.transaction import Transaction


async def find_model(tx: Transaction, name: str, version: str) -> Model | None:
    """The registered version; empty and "latest" mean the newest."""
    if version in {"", LATEST}:
        return newest(await tx.select(Model, name=name))
    return next(iter(await tx.select(Model, name=name, model_version=version)), None)


async def with_model(tx: Transaction, wanted: Deployment) -> Deployment:
    """The deployment with its model's version, artifact, engine and configuration filled in, as `with_registered`."""
    return with_registered(await find_model(tx, wanted.model_name, wanted.model_version), wanted)


def with_registered(model: Model | None, wanted: Deployment) -> Deployment:
    """The deployment with what the caller did not choose taken from the registered version; None: there is none.

    What the caller chose stands in the fields named ``requested_...``. Raises `NotFoundError` when the model is not
    registered and there is nothing else to load, `InvalidArgumentError` when no engine is known.
    """
    if model is None and not wanted.requested_inference_model:
        raise model_not_found(wanted.model_name, wanted.model_version)
    engine = wanted.requested_engine or (model.backend if model else "")
    if not engine:
        text = "is needed, since the model is not registered and names no backend"
        raise InvalidArgumentError(Violation("engine", text))
    check_engine(engine, "engine")
    # Defaults of a model belong to its own engine: another one would not know the keys.
    defaults: Mapping[str, object] = model.config if model and model.backend == engine else {}
    return replace(
        wanted,
        model_id=model.id if model else "",
        model_version=model.model_version if model else "",
        inference_model=wanted.requested_inference_model or (model.artifact_uri if model else ""),
        engine=engine,
        configuration={**defaults, **wanted.requested_configuration},
    )


def engine_plan(deployment: Deployment) -> EnginePlan:
    """How the engine is started. Raises `EngineConfigurationError` naming every wrong key."""
    return plan(
        EngineRequest(
            engine=deployment.engine,
            model=deployment.inference_model,
            model_name=deployment.model_name,
            workload_type=deployment.workload_type,
            gpu_per_replica=deployment.gpu_per_replica,
            configuration=deployment.configuration,
            env=deployment.env,
        )
    )


async def require_pools(tx: Transaction, pool_id: str, fallback_pool_ids: Sequence[str]) -> list[Pool]:
    """The pools of a deployment in the order in which they are tried. Raises `NotFoundError`, `PreconditionError`."""
    if pool_id in fallback_pool_ids:
        raise InvalidArgumentError(Violation("fallback_pool_ids", f"{pool_id!r} is pool_id itself; leave it out"))
    pools: list[Pool] = []
    for wanted in (pool_id, *fallback_pool_ids):
        pool = await require_pool(tx, wanted)
        if pool.state is not PoolState.ACTIVE:
            raise PreconditionError("POOL_DELETING", f"pool {pool.name!r} is being deleted", {"pool": pool.id})
        pools.append(pool)
    return pools


async def check_fits(tx: Transaction, views: PoolViews, deployment: Deployment) -> list[PoolView]:
    """The views of the deployment's pools.

    Raises `PreconditionError` saying which limit when none of them can ever hold a replica, or all of them together
    not as many as are wanted.
    """
    pools = await require_pools(tx, deployment.pool_id, deployment.fallback_pool_ids)
    looked = [await views.read(tx, pool) for pool in pools]
    refusals = [never(deployment, view) for view in looked]
    if all(refusals):
        first = next(refusal for refusal in refusals if refusal)
        raise PreconditionError(first.reason, first.message, {"pool": deployment.pool_id})
    held = [capacity(deployment, view) for view, refusal in zip(looked, refusals, strict=True) if not refusal]
    limits = [limit for limit, _ in held if limit is not None]
    if len(limits) == len(held) and deployment.replicas > sum(limits):
        text = f"{deployment.replicas} replicas were asked for, and {_named(pools)} can hold at most {sum(limits)}"
        why = "; ".join(dict.fromkeys(reason for _, reason in held if reason))
        metadata = {"pool": deployment.pool_id, "replicas": str(deployment.replicas), "capacity": str(sum(limits))}
        raise PreconditionError("POOL_CAPACITY_EXCEEDED", f"{text} (limited by {why})", metadata)
    _check_files(looked, deployment)
    return looked


def _named(pools: Sequence[Pool]) -> str:
    names = ", ".join(repr(pool.name) for pool in pools)
    return f"pool {names}" if len(pools) == 1 else f"the pools {names}"


def _check_files(views: Sequence[PoolView], deployment: Deployment) -> None:
    """Raise when every pool is on this machine and the model is a file that this machine does not have."""
    path = local_path(deployment.inference_model)
    if path is None or any(view.pool.provider != "local" for view in views) or path.exists():
        return
    text = f"model file {str(path)!r} does not exist on this machine, where pool {views[0].pool.name!r} runs"
    raise PreconditionError("MODEL_FILE_NOT_FOUND", text, {"path": str(path), "pool": deployment.pool_id})


def require_budget(deployment: Deployment) -> None:
    """Raise `InvalidArgumentError` when the update strategy leaves no step to take."""
    if deployment.max_surge == 0 and deployment.max_unavailable == 0:
        text = "max_surge and max_unavailable cannot both be 0: no update could ever take a step"
        raise InvalidArgumentError(Violation("update_strategy", text))


def not_found(deployment_id: str) -> NotFoundError:
    """The error for a deployment that is not there."""
    return NotFoundError("deployment", deployment_id)

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


async def require_pools(tx: Transaction, deployment: Deployment, *, fallbacks: bool) -> list[Pool]:
    """The pools of a deployment in the order in which they are tried.

    Raises `NotFoundError` or `PreconditionError` for one that is gone or being deleted, `InvalidArgumentError` for one
    that is named twice. ``fallbacks``: also for a fallback pool; otherwise those are left out.
    """
    if deployment.pool_id in deployment.fallback_pool_ids:
        text = f"{deployment.pool_id!r} is pool_id itself; leave it out"
        raise InvalidArgumentError(Violation("fallback_pool_ids", text))
    pools = [await _require_active(tx, deployment.pool_id)]
    for pool_id in deployment.fallback_pool_ids:
        known = await tx.get(Pool, pool_id)
        if fallbacks or (known is not None and known.state is PoolState.ACTIVE):
            pools.append(await _require_active(tx, pool_id))
    return pools


async def _require_active(tx: Transaction, pool_id: str) -> Pool:
    pool = await require_pool(tx, pool_id)
    if pool.state is not PoolState.ACTIVE:
        raise PreconditionError("POOL_DELETING", f"pool {pool.name!r} is being deleted", {"pool": pool.id})
    return pool


async def check_fits(
    tx: Transaction, views: PoolViews, deployment: Deployment, *, fallbacks: bool = False
) -> list[PoolView]:
    """The views of the deployment's pools.

    ``fallbacks``: the fallback pools were named just now, and must all be there. Those of a deployment that exists may
    have been deleted since, which takes nothing from it but that choice: they are left out.

    Raises `PreconditionError` saying which limit when none of them can ever hold a replica, or all of them together
    not as many as are wanted; and as `require_pools`.
    """
    pools = await require_pools(tx, deployment, fallbacks=fallbacks)
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

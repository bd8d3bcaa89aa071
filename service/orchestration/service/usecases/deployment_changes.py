"""Deployments changed: updated, scaled, started, terminated, purged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from orchestration.service.domain import rollback
from orchestration.service.domain.status import DeploymentStatus, completed, deployment_status, gave_up
from orchestration.service.errors import PreconditionError
from orchestration.service.usecases.deployment_specs import (
    check_fits,
    engine_plan,
    find_model,
    not_found,
    with_registered,
)
from orchestration.service.usecases.deployments import RestartDefaults, with_restart_policy, with_strategy
from orchestration.service.usecases.fields import fields_to_set
from orchestration.service.usecases.models import model_not_found
from orchestration.service.usecases.mutations import Mutations, check_etag
from orchestration.service.usecases.pool_views import PoolViews
from orchestration.service.usecases.usage import end_usage
from orchestration.service.usecases.values import plain
from orchestration.service.usecases.views import deployment_view
from orchestration.store.records import Deployment, DesiredState, Model, Replica, ReplicaState
from orchestration.store.transaction import Transaction
from orchestration.v1 import model_deployments_pb2 as pb

_UPDATABLE = (
    "model_version",
    "replicas",
    "gpu_per_replica",
    "fallback_pool_ids",
    "engine",
    "configuration",
    "inference_model",
    "env",
    "labels",
    "update_strategy",
    "restart_policy",
)
_CHOSEN = {"engine": "requested_engine", "inference_model": "requested_inference_model"}
"""Fields that follow the registered model unless the caller chooses, and where the choice is kept."""
_RUN = frozenset(_UPDATABLE) - {"labels", "replicas", "fallback_pool_ids", "update_strategy", "restart_policy"}
"""Fields that say what is run."""
_STARTABLE = (DeploymentStatus.STOPPED, DeploymentStatus.FAILED)


class DeploymentChanges:
    """What callers change in deployments."""

    def __init__(
        self, mutations: Mutations, views: PoolViews, clock: Callable[[], float], restarts: RestartDefaults
    ) -> None:
        self._mutations = mutations
        self._views = views
        self._clock = clock
        self._restarts = restarts

    async def update_deployment(self, request: pb.UpdateDeploymentRequest) -> pb.Deployment:
        """Change what is run; replicas are replaced within the update budget."""
        names = fields_to_set(request, request.update_mask, _UPDATABLE)
        return await self._mutations.run(
            "UpdateDeployment", request, pb.Deployment, lambda tx: self._update(tx, request, names)
        )

    async def _update(
        self, tx: Transaction, request: pb.UpdateDeploymentRequest, names: Collection[str]
    ) -> pb.Deployment:
        current = await _load(tx, request.deployment_id, request.etag)
        replicas = await tx.select(Replica, deployment_id=current.id)
        wanted = await self._changed(tx, current, request, names)
        again = [replica for replica in replicas if set(names) - {"labels"} and gave_up(replica)]
        asks_more = wanted.replicas > current.replicas or "fallback_pool_ids" in names
        if rollback.differs(wanted, rollback.template(current)):
            asks_more = True
            wanted, again = rollback.renewed(wanted), []
        elif _RUN & set(names):
            wanted = rollback.without_failure(wanted)
        if wanted != current or again:
            if asks_more:  # what runs is not questioned by a change of something else, whatever its pool has lost
                await check_fits(tx, self._views, wanted, fallbacks="fallback_pool_ids" in names)
            wanted = await self._write(tx, wanted)
            for replica in (*rollback.taken_over(current, wanted, replicas), *_fresh(again, self._clock())):
                await tx.update(replica)
            text = f"generation {wanted.generation}: changed {', '.join(sorted(names))}"
            text += f"; {len(again)} replicas that were given up are tried again" if again else ""
            tx.event(kind="deployment", subject_id=wanted.id, reason="DEPLOYMENT_UPDATED", message=text)
        replicas = await tx.select(Replica, deployment_id=wanted.id)
        return deployment_view(wanted, replicas, clock=self._clock)

    async def _changed(
        self, tx: Transaction, current: Deployment, request: pb.UpdateDeploymentRequest, names: Collection[str]
    ) -> Deployment:
        changes: dict[str, object] = {}
        for name in {"replicas", "gpu_per_replica", *_CHOSEN, "model_version"} & set(names):
            changes[_CHOSEN.get(name, name)] = getattr(request, name)
        for name in {"env", "labels"} & set(names):
            changes[name] = dict(getattr(request, name))
        if "fallback_pool_ids" in names:
            changes["fallback_pool_ids"] = tuple(request.fallback_pool_ids)
        if "configuration" in names:
            changes["requested_configuration"] = plain(request.configuration)
        wanted = replace(current, **changes)  # type: ignore[arg-type]
        if "update_strategy" in names:
            wanted = with_strategy(wanted, request.update_strategy)
        if "restart_policy" in names:
            wanted = with_restart_policy(wanted, request.restart_policy, self._restarts)
        if {"model_version", "configuration", *_CHOSEN} & set(names):
            model = await (_asked_for if "model_version" in names else _run_now)(tx, wanted)
            wanted = with_registered(model, wanted)
        engine_plan(wanted)
        return wanted

    async def _write(self, tx: Transaction, deployment: Deployment) -> Deployment:
        return await tx.update(replace(deployment, version=deployment.version + 1, updated_at=self._clock()))

    async def scale_deployment(self, request: pb.ScaleDeploymentRequest) -> pb.ScaleDeploymentResponse:
        """Set how many replicas there are to be."""
        return await self._mutations.run(
            "ScaleDeployment", request, pb.ScaleDeploymentResponse, lambda tx: self._scale(tx, request)
        )

    async def _scale(self, tx: Transaction, request: pb.ScaleDeploymentRequest) -> pb.ScaleDeploymentResponse:
        deployment = await _load(tx, request.deployment_id, request.etag)
        before = deployment.replicas
        if request.replicas != before:
            deployment = replace(deployment, replicas=request.replicas)
            if request.replicas > before:
                await check_fits(tx, self._views, deployment)
            deployment = await self._write(tx, deployment)
            text = f"scaled from {before} to {deployment.replicas} replicas"
            tx.event(kind="deployment", subject_id=deployment.id, reason="DEPLOYMENT_SCALED", message=text)
        status = deployment_status(deployment, await tx.select(Replica, deployment_id=deployment.id))
        return pb.ScaleDeploymentResponse(deployment_id=deployment.id, status=status, replicas=deployment.replicas)

    async def start_deployment(self, request: pb.StartDeploymentRequest) -> pb.StartDeploymentResponse:
        """Start a deployment that is STOPPED or FAILED."""
        return await self._mutations.run(
            "StartDeployment", request, pb.StartDeploymentResponse, lambda tx: self._start(tx, request)
        )

    async def _start(self, tx: Transaction, request: pb.StartDeploymentRequest) -> pb.StartDeploymentResponse:
        deployment = await _load(tx, request.deployment_id, request.etag)
        replicas = await _require_status(tx, deployment, "started")
        await check_fits(tx, self._views, deployment)
        for replica in _fresh(replicas, self._clock()):
            await tx.update(replica)
        deployment = replace(
            deployment,
            desired=DesiredState.RUNNING,
            complete_generation=0,
            observed_status=DeploymentStatus.DEPLOYING,
        )
        await self._write(tx, deployment)
        text = f"{deployment.replicas} replicas are wanted"
        tx.event(kind="deployment", subject_id=deployment.id, reason="DEPLOYMENT_STARTED", message=text)
        return pb.StartDeploymentResponse(deployment_id=deployment.id, status=pb.Deployment.DEPLOYING)

    async def delete_deployment(self, request: pb.DeleteDeploymentRequest) -> pb.DeleteDeploymentResponse:
        """Terminate a deployment; its record stays."""
        return await self._mutations.run(
            "DeleteDeployment", request, pb.DeleteDeploymentResponse, lambda tx: self._terminate(tx, request)
        )

    async def _terminate(self, tx: Transaction, request: pb.DeleteDeploymentRequest) -> pb.DeleteDeploymentResponse:
        deployment = await _load(tx, request.deployment_id, request.etag)
        replicas = await tx.select(Replica, deployment_id=deployment.id)
        if deployment.desired is DesiredState.RUNNING:
            replicas = await _end_replicas(tx, replicas, self._clock())
            deployment = replace(deployment, desired=DesiredState.STOPPED)
            status = deployment_status(deployment, replicas)
            deployment = await self._write(tx, replace(deployment, observed_status=status))
            text = f"{len(replicas)} replicas are being ended" if replicas else "no replica was running"
            tx.event(kind="deployment", subject_id=deployment.id, reason="DEPLOYMENT_TERMINATED", message=text)
        status = deployment_status(deployment, replicas)
        return pb.DeleteDeploymentResponse(deployment_id=deployment.id, status=status)

    async def purge_deployment(self, request: pb.PurgeDeploymentRequest) -> pb.PurgeDeploymentResponse:
        """Delete the record of a deployment that is STOPPED or FAILED."""
        return await self._mutations.run(
            "PurgeDeployment", request, pb.PurgeDeploymentResponse, lambda tx: self._purge(tx, request)
        )

    async def _purge(self, tx: Transaction, request: pb.PurgeDeploymentRequest) -> pb.PurgeDeploymentResponse:
        deployment = await _load(tx, request.deployment_id, request.etag)
        for replica in await _require_status(tx, deployment, "purged"):
            end_usage(tx, replica, self._clock())
            await tx.delete(replica)
        await tx.delete(deployment)
        return pb.PurgeDeploymentResponse(deployment_id=deployment.id, status=pb.PurgeDeploymentResponse.DELETED)


async def _asked_for(tx: Transaction, wanted: Deployment) -> Model | None:
    """The registered version that an update names. Raises `NotFoundError` when there is none of the name given."""
    model = await find_model(tx, wanted.model_name, wanted.model_version)
    if model is None and wanted.model_version:
        raise model_not_found(wanted.model_name, wanted.model_version)
    return model


async def _run_now(tx: Transaction, current: Deployment) -> Model | None:
    """The registered version that the deployment runs; None for one that runs a model that is not registered."""
    if not current.model_id:
        return None
    known = await tx.get(Model, current.model_id)
    return known or await find_model(tx, current.model_name, current.model_version)


def _fresh(replicas: Sequence[Replica], now: float) -> list[Replica]:
    """Those that were given up, or did their work, with a fresh budget; an instance that is left goes first.

    Others are left as they are: one that is being ended is not wanted any more.
    """
    fields = {"state": ReplicaState.FAILED, "failures": 0, "retry_at": now, "state_changed_at": now}
    return [replace(replica, **fields) for replica in replicas if gave_up(replica) or completed(replica)]  # type: ignore[arg-type]


async def _load(tx: Transaction, deployment_id: str, expected_etag: str) -> Deployment:
    """The deployment at the expected etag, with what its replicas show: the controller may not have noted it yet."""
    deployment = await tx.get(Deployment, deployment_id)
    if deployment is None:
        raise not_found(deployment_id)
    check_etag(expected_etag, deployment.id, deployment.version)
    return rollback.noted(deployment, await tx.select(Replica, deployment_id=deployment.id))


async def _require_status(tx: Transaction, deployment: Deployment, done: str) -> list[Replica]:
    """The deployment's replicas. Raises `PreconditionError` unless it is STOPPED or FAILED."""
    replicas = await tx.select(Replica, deployment_id=deployment.id)
    status = deployment_status(deployment, replicas)
    if status not in _STARTABLE:
        text = f"deployment {deployment.id} is {status}; only one that is STOPPED or FAILED can be {done}"
        raise PreconditionError("INVALID_STATUS", text, {"deployment": deployment.id, "status": status})
    return replicas


async def _end_replicas(tx: Transaction, replicas: list[Replica], now: float) -> list[Replica]:
    """Mark replicas to be ended, and drop at once those that hold nothing; gives those that are left."""
    left: list[Replica] = []
    for replica in replicas:
        if not replica.instance_name:
            await tx.delete(replica)
        elif replica.state is ReplicaState.TERMINATING:
            left.append(replica)
        else:
            ending = replace(replica, state=ReplicaState.TERMINATING, reason="", message="", state_changed_at=now)
            left.append(await tx.update(ending))
    return left

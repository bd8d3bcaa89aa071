"""Deployments: accepted, read and listed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestration.service.domain.placement import candidates
from orchestration.service.domain.places import PoolView
from orchestration.service.domain.status import DeploymentStatus, deployment_status
from orchestration.service.ids import new_id
from orchestration.service.paging import decode_token, encode_token, page_size
from orchestration.service.usecases.deployment_specs import (
    check_fits,
    engine_plan,
    not_found,
    require_budget,
    with_model,
)
from orchestration.service.usecases.mutations import Mutations
from orchestration.service.usecases.pool_views import PoolViews
from orchestration.service.usecases.serialized import Serialized
from orchestration.service.usecases.values import plain
from orchestration.service.usecases.views import deployment_list, deployment_view, event_view
from orchestration.store.records import Deployment, Replica
from orchestration.store.store import Store
from orchestration.store.transaction import Transaction
from orchestration.v1 import model_deployments_pb2 as pb

DEFAULT_MAX_SURGE = 0
DEFAULT_MAX_UNAVAILABLE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartDefaults:
    """What a restart policy means by what it leaves out."""

    max_attempts: int
    window_s: float


def with_strategy(deployment: Deployment, strategy: pb.UpdateStrategy) -> Deployment:
    """The deployment with the update budget that the request gives, defaults for what it leaves out."""
    surge = strategy.max_surge if strategy.HasField("max_surge") else DEFAULT_MAX_SURGE
    unavailable = strategy.max_unavailable if strategy.HasField("max_unavailable") else DEFAULT_MAX_UNAVAILABLE
    changed = replace(deployment, max_surge=surge, max_unavailable=unavailable)
    require_budget(changed)
    return changed


def with_restart_policy(deployment: Deployment, policy: pb.RestartPolicy, defaults: RestartDefaults) -> Deployment:
    """The deployment with the restart policy that the request gives, defaults for what it leaves out."""
    batch = deployment.workload_type == "batch"
    condition = policy.condition or (pb.RestartPolicy.ON_FAILURE if batch else pb.RestartPolicy.ALWAYS)
    return replace(
        deployment,
        restart_condition=pb.RestartPolicy.Condition.Name(condition),
        restart_max_attempts=policy.max_attempts if policy.HasField("max_attempts") else defaults.max_attempts,
        restart_window_s=policy.window.ToTimedelta().total_seconds()
        if policy.HasField("window")
        else defaults.window_s,
    )


class DeploymentUseCases:
    """What callers do with deployments, except changing them (`deployment_changes`)."""

    def __init__(
        self,
        store: Store,
        mutations: Mutations,
        views: PoolViews,
        clock: Callable[[], float],
        restarts: RestartDefaults,
    ) -> None:
        self._store = store
        self._index = store.index
        self._mutations = mutations
        self._views = views
        self._clock = clock
        self._restarts = restarts

    async def deploy_model(self, request: pb.DeployModelRequest) -> pb.DeployModelResponse:
        """Accept a deployment, or with ``validate_only`` explain where it would run."""
        if request.validate_only:
            async with self._store.write(actor="api") as tx:
                resolved, views = await self._resolve(tx, request)
            return _explain(resolved, views)
        return await self._mutations.run(
            "DeployModel", request, pb.DeployModelResponse, lambda tx: self._deploy(tx, request)
        )

    async def _resolve(self, tx: Transaction, request: pb.DeployModelRequest) -> tuple[Deployment, list[PoolView]]:
        now = self._clock()
        wanted = Deployment(
            id=new_id(),
            created_at=now,
            updated_at=now,
            org_id=request.org_id,
            owner_id=request.owner_id,
            pool_id=request.pool_id,
            fallback_pool_ids=tuple(request.fallback_pool_ids),
            model_name=request.model_name,
            model_version=request.model_version,
            replicas=request.replicas if request.HasField("replicas") else 1,
            gpu_per_replica=request.gpu_per_replica if request.HasField("gpu_per_replica") else 1,
            workload_type=request.workload_type or "inference",
            engine="",
            requested_engine=request.engine,
            inference_model="",
            requested_inference_model=request.inference_model,
            requested_configuration=plain(request.configuration),
            env=dict(request.env),
            labels=dict(request.labels),
        )
        wanted = with_strategy(wanted, request.update_strategy)
        wanted = with_restart_policy(wanted, request.restart_policy, self._restarts)
        resolved = await with_model(tx, wanted)
        engine_plan(resolved)
        return resolved, await check_fits(tx, self._views, resolved, fallbacks=True)

    async def _deploy(self, tx: Transaction, request: pb.DeployModelRequest) -> pb.DeployModelResponse:
        resolved, _ = await self._resolve(tx, request)
        accepted = replace(resolved, observed_status=DeploymentStatus.DEPLOYING)
        await tx.insert(accepted)
        text = f"{accepted.replicas} replicas of {accepted.model_name!r} on {accepted.engine} are wanted"
        tx.event(kind="deployment", subject_id=accepted.id, reason="DEPLOYMENT_ACCEPTED", message=text)
        return pb.DeployModelResponse(deployment_id=accepted.id, status=pb.Deployment.DEPLOYING)

    async def get_deployment(self, request: pb.GetDeploymentRequest) -> pb.Deployment:
        """One deployment with its replicas."""
        deployment = self.require(request.deployment_id)
        return self._view(deployment)

    def _view(self, deployment: Deployment) -> pb.Deployment:
        replicas = self._index.find(Replica, deployment_id=deployment.id)
        return deployment_view(deployment, replicas, clock=self._clock)

    def require(self, deployment_id: str) -> Deployment:
        """The deployment, from the index. Raises `NotFoundError`."""
        deployment = self._index.get(Deployment, deployment_id)
        if deployment is None:
            raise not_found(deployment_id)
        return deployment

    async def list_deployments(self, request: pb.ListDeploymentsRequest) -> Serialized[pb.ListDeploymentsResponse]:
        """Deployments that match, newest first."""
        filters = {"org_id": request.org_id, "pool_id": request.pool_id, "model_name": request.model_name}
        where = {name: value for name, value in filters.items() if value}
        query = ("ListDeployments", request.status, *sorted(where.items()))
        before = decode_token(request.page_token, *query)
        size = page_size(request.page_size)
        keep = self._has_status(request.status) if request.status else None
        found, total = self._index.page(Deployment, where=where, before=before, limit=size + 1, keep=keep)
        token = encode_token(found[size - 1].id, *query) if len(found) > size else ""
        find = self._index.find
        listed = ((item, find(Replica, deployment_id=item.id)) for item in found[:size])
        beside = pb.ListDeploymentsResponse(next_page_token=token, total_size=total)
        return Serialized(deployment_list(listed, now=self._clock()) + beside.SerializeToString())

    def _has_status(self, value: pb.Deployment.Status) -> Callable[[Deployment], bool]:
        wanted = pb.Deployment.Status.Name(value)
        return lambda item: deployment_status(item, self._index.find(Replica, deployment_id=item.id)) == wanted

    async def list_deployment_events(self, request: pb.ListDeploymentEventsRequest) -> pb.ListDeploymentEventsResponse:
        """What happened to a deployment, newest first."""
        self.require(request.deployment_id)
        query = ("ListDeploymentEvents", request.deployment_id)
        before = decode_token(request.page_token, *query)
        size = page_size(request.page_size)
        events, total = await self._store.list_events(
            "deployment", request.deployment_id, limit=size + 1, before=before
        )
        token = encode_token(events[size - 1].id, *query) if len(events) > size else ""
        return pb.ListDeploymentEventsResponse(
            deployment_id=request.deployment_id,
            events=[event_view(event) for event in events[:size]],
            next_page_token=token,
            total_size=total,
        )


def _explain(resolved: Deployment, views: list[PoolView]) -> pb.DeployModelResponse:
    found = [candidate for view in views for candidate in candidates(resolved, view)]
    return pb.DeployModelResponse(
        status=pb.Deployment.DEPLOYING,
        candidates=[
            pb.PlacementCandidate(
                pool_id=item.pool_id,
                node_id=item.node_id,
                feasible=item.feasible,
                reason=item.reason,
                message=item.message,
                price_per_hour=item.price_per_hour,
                provider_resource_id=item.resource_id,
                gpu_type=item.gpu_type,
                pricing_model=item.pricing_model,
            )
            for item in found
        ],
    )

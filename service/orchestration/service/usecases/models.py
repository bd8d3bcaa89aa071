"""The model registry: versions are registered, read and deleted, and never changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from orchestration.service.domain.status import DeploymentStatus, can_roll_back, deployment_status
from orchestration.service.engines import artifacts
from orchestration.service.engines.table import get_engine
from orchestration.service.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    PreconditionError,
    Violation,
)
from orchestration.service.ids import new_id
from orchestration.service.paging import decode_token, encode_token, page_size
from orchestration.service.usecases.mutations import Mutations
from orchestration.service.usecases.values import plain
from orchestration.service.usecases.views import model_view
from orchestration.store.index import Index
from orchestration.store.records import Deployment, Model, Replica
from orchestration.store.transaction import Transaction
from orchestration.v1 import model_registry_pb2 as pb

LATEST = "latest"


def newest(versions: list[Model]) -> Model | None:
    """The newest registered version: ids sort by creation."""
    return max(versions, key=lambda model: model.id, default=None)


def model_not_found(name: str, version: str) -> NotFoundError:
    """The error for a model, or a version of it, that is not registered."""
    if version in {"", LATEST}:
        return NotFoundError("model", name, message=f"model {name!r} is not registered")
    return NotFoundError("model", f"{name}/{version}", message=f"model {name!r} has no registered version {version!r}")


class ModelUseCases:
    """What callers do with models."""

    def __init__(self, mutations: Mutations, index: Index, clock: Callable[[], float]) -> None:
        self._mutations = mutations
        self._index = index
        self._clock = clock

    async def register_model(self, request: pb.RegisterModelRequest) -> pb.RegisterModelResponse:
        """Register a version."""
        check_engine(request.backend, "backend")
        problem = artifacts.problem_with(request.artifact_uri)
        if problem:
            raise InvalidArgumentError(Violation("artifact_uri", problem))
        return await self._mutations.run(
            "RegisterModel", request, pb.RegisterModelResponse, lambda tx: self._register(tx, request)
        )

    async def _register(self, tx: Transaction, request: pb.RegisterModelRequest) -> pb.RegisterModelResponse:
        wanted = Model(
            id=new_id(),
            created_at=self._clock(),
            name=request.model_name,
            model_version=request.model_version,
            backend=request.backend,
            artifact_uri=request.artifact_uri,
            config=plain(request.config_json),
            artifact_digest=request.artifact_digest,
            labels=dict(request.labels),
        )
        known = await tx.select(Model, name=wanted.name, model_version=wanted.model_version)
        if known:
            _refuse_other_content(known[0], wanted)
            model = known[0]
        else:
            model = await tx.insert(wanted)
            text = f"model {model.name!r} version {model.model_version!r} was registered"
            tx.event(kind="model", subject_id=model.id, reason="MODEL_REGISTERED", message=text)
        return pb.RegisterModelResponse(
            model_id=model.id, status=pb.RegisterModelResponse.REGISTERED, model=model_view(model)
        )

    async def get_model(self, request: pb.GetModelRequest) -> pb.Model:
        """One version."""
        return model_view(self._require(request.model_name, request.model_version))

    def _require(self, name: str, version: str) -> Model:
        if version == LATEST:
            found = newest(self._index.find(Model, name=name))
        else:
            found = next(iter(self._index.find(Model, name=name, model_version=version)), None)
        if found is None:
            raise model_not_found(name, version)
        return found

    async def list_models(self, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
        """Versions, newest first."""
        where = {"name": request.model_name} if request.model_name else {}
        before = decode_token(request.page_token, "ListModels", request.model_name)
        size = page_size(request.page_size)
        models, total = self._index.page(Model, where=where, before=before, limit=size + 1)
        token = encode_token(models[size - 1].id, "ListModels", request.model_name) if len(models) > size else ""
        views = [model_view(model) for model in models[:size]]
        return pb.ListModelsResponse(models=views, next_page_token=token, total_size=total)

    async def delete_model(self, request: pb.DeleteModelRequest) -> pb.DeleteModelResponse:
        """Delete a version that no live deployment uses."""
        return await self._mutations.run(
            "DeleteModel", request, pb.DeleteModelResponse, lambda tx: self._delete(tx, request)
        )

    async def _delete(self, tx: Transaction, request: pb.DeleteModelRequest) -> pb.DeleteModelResponse:
        if request.model_id:
            found = await tx.select(Model, id=request.model_id)
        else:
            found = await tx.select(Model, name=request.model_name, model_version=request.model_version)
        if not found:
            if request.model_id:
                raise NotFoundError("model", request.model_id)
            raise model_not_found(request.model_name, request.model_version)
        model = found[0]
        users = await _live_users(tx, model)
        if users:
            text = f"model {model.name!r} version {model.model_version!r} is used by {len(users)} live deployments"
            metadata = {"model": model.id, "deployments": ",".join(users[:10])}
            raise PreconditionError("MODEL_IN_USE", f"{text}, first {users[0]}; terminate them first", metadata)
        await tx.delete(model)
        text = f"model {model.name!r} version {model.model_version!r} was deleted"
        tx.event(kind="model", subject_id=model.id, reason="MODEL_DELETED", message=text)
        return pb.DeleteModelResponse(model_id=model.id, status=pb.DeleteModelResponse.DELETED)


async def _live_users(tx: Transaction, model: Model) -> list[str]:
    """Ids of deployments that run the version, may go back to it, or whose replicas of it are still being ended."""
    return [
        deployment.id
        for deployment in await tx.select(Deployment, model_name=model.name)
        if _may_run(deployment, model) and await is_live(tx, deployment)
    ]


async def is_live(tx: Transaction, deployment: Deployment) -> bool:
    """Whether the deployment is not STOPPED: it runs, is meant to, or its replicas are still being ended.

    A batch that has done its work is STOPPED, although nobody has stopped it.
    """
    replicas = await tx.select(Replica, deployment_id=deployment.id)
    return deployment_status(deployment, replicas) is not DeploymentStatus.STOPPED


def _may_run(deployment: Deployment, model: Model) -> bool:
    """Whether the deployment runs the version, or an update away from it is not complete yet."""
    if deployment.model_id == model.id:
        return True
    return can_roll_back(deployment) and deployment.stable_template["model_id"] == model.id


def _refuse_other_content(known: Model, wanted: Model) -> None:
    same = replace(wanted, id=known.id, revision=known.revision, created_at=known.created_at)
    if same == known:
        return
    fields = {
        "backend": "backend",
        "artifact_uri": "artifact_uri",
        "config": "config_json",
        "artifact_digest": "artifact_digest",
        "labels": "labels",
    }
    differing = ", ".join(shown for name, shown in fields.items() if getattr(same, name) != getattr(known, name))
    text = f"model {known.name!r} version {known.model_version!r} is registered with another {differing}"
    raise AlreadyExistsError(
        "MODEL_VERSION_EXISTS",
        f"{text}; a registered version never changes: register a new one",
        {"model_name": known.name, "model_version": known.model_version, "model_id": known.id, "fields": differing},
    )


def check_engine(name: str, field: str) -> None:
    """Raise `InvalidArgumentError` naming the engines there are when `name` is none of them."""
    try:
        get_engine(name)
    except ValueError as error:
        raise InvalidArgumentError(Violation(field, str(error)), reason="UNKNOWN_ENGINE") from None

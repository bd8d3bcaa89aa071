"""Changes that a caller asks for: one transaction, done once for each request id, and only at the expected etag."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from orchestration.service.errors import AlreadyExistsError, ConflictError
from orchestration.service.ids import etag
from orchestration.store.records import Answer
from orchestration.store.store import Store
from orchestration.store.transaction import Transaction
from orchestration.v1 import common_pb2, compute_pools_pb2, model_deployments_pb2, model_registry_pb2

ACTOR = "api"
ANSWER_TTL_S = 24 * 3600.0
"""How long the first answer to a request id is kept (contract: 24 hours)."""

_FILES = (compute_pools_pb2.DESCRIPTOR, model_registry_pb2.DESCRIPTOR, model_deployments_pb2.DESCRIPTOR)

ResponseT = TypeVar("ResponseT", bound=Message)


class MutationRequest(Protocol):
    """A request that carries a request id."""

    request_id: str

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes:  # noqa: N802  protobuf's own name
        """The message on the wire."""
        ...


class Mutations:
    """Runs mutations so that a repeated one gives its first answer."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def run(
        self,
        method: str,
        request: MutationRequest,
        response_type: type[ResponseT],
        work: Callable[[Transaction], Awaitable[ResponseT]],
    ) -> ResponseT:
        """Do `work` in one transaction that also keeps its answer, or give the answer kept for this request id.

        Request ids are told apart by method, and by tenant where the request names one: what two tenants happened to
        choose alike is two requests. Where it names a resource instead, which has an id of its own, it is another
        request, and refused.

        Raises `AlreadyExistsError` (REQUEST_ID_REUSED) when the id was used with another request.
        """
        key, scope = request.request_id, scope_of(method, request)
        async with self._store.write(actor=ACTOR) as tx:
            if not key:
                return await work(tx)
            digest = _digest(request)
            prior = await self._recall(tx, scope, key) or await self._recall_unscoped(tx, method, key, digest)
            if prior is not None:
                return _first_answer(prior, digest, response_type)
            response = await work(tx)
            answer = Answer(
                scope=scope,
                request_id=key,
                digest=digest,
                response=response.SerializeToString(),
                created_at=self._clock(),
            )
            await tx.remember(answer, ttl_s=ANSWER_TTL_S)
            return response

    async def _recall(self, tx: Transaction, scope: str, key: str) -> Answer | None:
        """The answer, unless it is too old to stand: it may still lie there, until it is trimmed."""
        prior = await tx.recall(scope, key)
        return prior if prior is not None and self._clock() - prior.created_at < ANSWER_TTL_S else None

    async def _recall_unscoped(self, tx: Transaction, method: str, key: str, digest: bytes) -> Answer | None:
        """What the first release answered to the very same request; it told no tenants apart.

        Another tenant's answer by the same id has another digest, since its request names that tenant.
        """
        prior = await self._recall(tx, method, key)
        return prior if prior is not None and prior.digest == digest else None


def scope_of(method: str, request: MutationRequest) -> str:
    """Within what a request id is one request: the method, and the tenant that the request names."""
    field = _tenant_fields()[method]
    tenant = str(getattr(request, field)) if field else ""
    return f"{method}/{tenant}" if tenant else method


@functools.cache
def _tenant_fields() -> Mapping[str, str]:
    """By method the field that holds the tenant, as its access option declares it; empty where there is none."""
    option: Any = common_pb2.access  # its stub does not say of what it is an extension
    services = [service for file in _FILES for service in file.services_by_name.values()]
    return {
        method.name: str(method.GetOptions().Extensions[option].tenant_field)
        for service in services
        for method in service.methods
    }


def _digest(request: MutationRequest) -> bytes:
    key = request.request_id
    request.request_id = ""
    try:
        return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    finally:
        request.request_id = key


def _first_answer(prior: Answer, digest: bytes, response_type: type[ResponseT]) -> ResponseT:
    if prior.digest != digest:
        text = f"request_id {prior.request_id!r} was used with another request; use a new one for a new request"
        raise AlreadyExistsError("REQUEST_ID_REUSED", text, {"request_id": prior.request_id})
    return response_type.FromString(prior.response)


def check_etag(given: str, resource_id: str, version: int) -> None:
    """Raise `ConflictError` when the caller's etag is not that of the resource as it is."""
    current = etag(resource_id, version)
    if given and given != current:
        text = f"etag {given!r} is not the current {current!r}: the resource was changed meanwhile; read it again"
        raise ConflictError("ETAG_MISMATCH", text, {"etag": given, "current_etag": current, "resource": resource_id})

"""Providers: what each can do, and what each offers now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from orchestration.service.paging import decode_token, encode_token, page_size
from orchestration.service.providers.base import Provider, ProviderError, ProviderUnavailableError, Resource
from orchestration.service.providers.offers import TIME_LIMIT_S
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.v1 import compute_pools_pb2 as pb

DEFAULT_PROVIDER = "nosana"
ALL = "*"
FRESH_S = 5.0
"""How old an answer may be to be given again."""


class ProviderUseCases:
    """What callers ask of providers."""

    def __init__(self, providers: ProviderRegistry) -> None:
        self._providers = providers

    async def list_providers(self, request: pb.ListProvidersRequest) -> pb.ListProvidersResponse:
        """All providers, by name."""
        return pb.ListProvidersResponse(providers=[self._view(provider) for provider in self._providers.all()])

    def _view(self, provider: Provider) -> pb.ProviderInfo:
        able = provider.capabilities
        reason = self._providers.unavailable_reason(provider.name)
        return pb.ProviderInfo(
            name=provider.name,
            kind=able.kind,
            supports_log_streaming=able.log_streaming,
            supports_spot=able.spot,
            supports_multi_gpu=able.multi_gpu,
            supports_multi_node=able.multi_node,
            is_ephemeral=able.ephemeral,
            pricing_model=able.pricing_model,
            engines=able.engines,
            is_available=not reason,
            unavailable_reason=reason,
        )

    async def list_provider_resources(
        self, request: pb.ListProviderResourcesRequest
    ) -> pb.ListProviderResourcesResponse:
        """What one provider offers, or all of them, asked in parallel.

        One that cannot be asked is `ProviderUnavailableError` when it is asked alone, and a row of errors otherwise.
        """
        name = request.provider or DEFAULT_PROVIDER
        before = decode_token(request.page_token, "ListProviderResources", name)
        failures: list[pb.ProviderFailure] = []
        if name == ALL:
            found, failures = await self._all()
        else:
            found = list(await self._ask(self._providers.get(name)))
        found.sort(key=_key)
        size = page_size(request.page_size)
        rest = [resource for resource in found if before is None or _key(resource) > before]
        token = encode_token(_key(rest[size - 1]), "ListProviderResources", name) if len(rest) > size else ""
        return pb.ListProviderResourcesResponse(
            resources=[_resource_view(resource) for resource in rest[:size]],
            errors=failures,
            next_page_token=token,
            total_size=len(found),
        )

    async def _all(self) -> tuple[list[Resource], list[pb.ProviderFailure]]:
        providers = self._providers.all()
        answers = await asyncio.gather(*(self._ask(provider) for provider in providers), return_exceptions=True)
        found: list[Resource] = []
        failures: list[pb.ProviderFailure] = []
        for provider, answer in zip(providers, answers, strict=True):
            match answer:
                case ProviderError():
                    failures.append(pb.ProviderFailure(provider=provider.name, error=answer.message))
                case BaseException():
                    raise answer
                case _:
                    found.extend(answer)
        return found, failures

    async def _ask(self, provider: Provider) -> Sequence[Resource]:
        """What it told a moment ago, so that callers who look again and again do not use up its limits; else now."""
        recent = self._providers.offers.recent(provider.name, FRESH_S)
        if recent is not None:
            return recent
        try:
            async with asyncio.timeout(TIME_LIMIT_S):
                return await provider.list_resources()
        except TimeoutError:
            text = f"provider {provider.name} did not answer within {TIME_LIMIT_S:g} s"
            raise ProviderUnavailableError(text, reason="PROVIDER_TIMEOUT") from None


def _key(resource: Resource) -> str:
    return f"{resource.provider}\x1f{resource.provider_resource_id}\x1f{resource.gpu_type}\x1f{resource.pricing_model}"


def _resource_view(resource: Resource) -> pb.ProviderResource:
    return pb.ProviderResource(
        provider=resource.provider,
        provider_resource_id=resource.provider_resource_id,
        gpu_type=resource.gpu_type,
        gpu_count=resource.gpu_count,
        gpu_memory_gb=resource.gpu_memory_gb,
        vcpu=resource.vcpu,
        ram_gb=resource.ram_gb,
        region=resource.region,
        pricing_model=resource.pricing_model,
        price_per_hour=resource.price_per_hour,
        available_count=resource.available_count,
        metadata=resource.metadata,
    )

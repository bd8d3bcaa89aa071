"""What a pool asks of its provider that the provider cannot do: refused when it is written, rather than ignored."""

from __future__ import annotations

from collections.abc import Collection

from orchestration.service.domain.policy import policy_of
from orchestration.service.errors import InvalidArgumentError, Violation
from orchestration.service.providers.base import Provider
from orchestration.store.records import Pool


def check_honoured(pool: Pool, provider: Provider, fields: Collection[str] | None = None) -> None:
    """Raise `InvalidArgumentError` naming every field that the provider cannot honour.

    ``fields``: only these are looked at; None: all.
    """
    violations = [*_machine(pool, provider), *_spot(pool, provider)]
    wrong = [item for item in violations if fields is None or item.field.partition(".")[0] in fields]
    if wrong:
        raise InvalidArgumentError(*wrong)


def _machine(pool: Pool, provider: Provider) -> list[Violation]:
    if provider.capabilities.kind != "local":
        return []
    text = f"provider {provider.name} is this machine alone and has none; leave it empty"
    given = {
        "provider_pool_id": pool.provider_pool_id,
        "provider_credential_name": pool.provider_credential_name,
    }
    return [Violation(field, text) for field, value in given.items() if value]


def _spot(pool: Pool, provider: Provider) -> list[Violation]:
    able = provider.capabilities
    if policy_of(pool).spot == "never" or (able.spot and able.kind != "local" and not able.places_on_nodes):
        return []
    text = f'provider {provider.name} offers no spot capacity; leave it out, or say "never"'
    return [Violation("scheduling_policy_json.spot", text)]

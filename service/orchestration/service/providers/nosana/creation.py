"""Makes deployments: a draft first, which costs nothing, then its start, which can be asked for as often as one likes.

Nosana has no key by which a creation that is asked for again is known. So what is there is looked up by name before
anything is made; and once more before anything is started: should several drafts have come of it after all, which two
gateways may make at the same time, each of them picks the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from orchestration.service.providers.base import (
    InstanceRejectedError,
    InstanceSpec,
    ProviderError,
    ProviderUnavailableError,
)
from orchestration.service.providers.nosana.accounts import Account, Accounts
from orchestration.service.providers.nosana.api import NotThereError, WrongStateError
from orchestration.service.providers.nosana.definition import build, port_of
from orchestration.service.providers.nosana.models import Market, NosanaDeployment
from orchestration.service.providers.nosana.records import Record, Records, valid_name
from orchestration.service.providers.nosana.settings import NosanaSettings
from orchestration.service.providers.nosana.sight import Sight
from orchestration.service.providers.nosana.states import INSUFFICIENT_FUNDS

log = structlog.get_logger(__name__)

_STARTED_FROM = frozenset({"DRAFT"})
"""Only what never ran is started: an instance that ended is not started again."""


class Creator:
    """Makes and starts one deployment of each name."""

    def __init__(
        self, accounts: Accounts, records: Records, sight: Sight, settings: NosanaSettings, *, tag: str
    ) -> None:
        self._accounts = accounts
        self._records = records
        self._sight = sight
        self._settings = settings
        self._tag = tag

    async def create(self, spec: InstanceSpec) -> tuple[Account, str]:
        """Have the deployment of the name be there and started; its account and its id at Nosana.

        Raises what `Provider.create` may.
        """
        if not valid_name(spec.name):
            raise InstanceRejectedError("NAME_INVALID", f"{spec.name!r} is no name of an instance")
        record = self._records.get(spec.name)
        if record is not None and record.nosana_id:  # whatever its pool says by now
            account = self._accounts.of(record.credential)
        else:
            account = self._accounts.get(spec.provider_credential_name)
        request = self._prepare(spec)
        record = record or Record(name=spec.name, credential=account.name)
        deployment = await self._existing(account, record)
        if deployment is None:
            deployment, record = await self._make(account, spec, replace(record, credential=account.name), request)
        elif record.nosana_id != deployment.id:  # made by a call whose answer did not come, or by another gateway
            price = self._accounts.markets.price(deployment.market)
            record = _noted(record, spec, deployment.id, deployment.market, price)
            await self._records.put(record)
        if deployment.status in _STARTED_FROM and not record.deleting:
            await account.funds.check()
            deployment = await self._chosen(account, spec, deployment)
            await self._start(account, deployment)
        return account, deployment.id

    def _prepare(self, spec: InstanceSpec) -> Mapping[str, Any]:
        """The request but for its market; what is wrong with the spec is found before anything is asked for."""
        return {
            "name": self._tag + spec.name,
            "replicas": 1,
            "timeout": self._settings.timeout_minutes,
            "strategy": self._settings.strategy,
            "confidential": self._settings.confidential,
            "job_definition": build(spec, with_resources=self._settings.model_resources),
        }

    async def _existing(self, account: Account, record: Record) -> NosanaDeployment | None:
        if record.nosana_id:
            found = await account.api.deployment(record.nosana_id)
            if found is not None:
                return found
        return next(iter(await self._sight.of_name(account, record.name)), None)

    async def _make(
        self, account: Account, spec: InstanceSpec, record: Record, request: Mapping[str, Any]
    ) -> tuple[NosanaDeployment, Record]:
        market = await self._accounts.markets.choose(spec)
        await account.funds.check()
        record = _noted(replace(record, deleting=False), spec, "", market.address, market.price_per_hour)
        await self._records.put(record)
        deployment = await self._ask_for(account, spec.name, {**request, "market": market.address}, market)
        # What was asked of it meanwhile, such as its deletion, stands in the record.
        record = replace(self._records.get(spec.name) or record, nosana_id=deployment.id, credential=account.name)
        await self._records.put(record)
        return deployment, record

    async def _ask_for(self, account: Account, name: str, body: Mapping[str, Any], market: Market) -> NosanaDeployment:
        try:
            return await account.api.create(body)
        except NotThereError as error:
            raise InstanceRejectedError("MARKET_UNKNOWN", f"market {market.slug or market.address}: {error}") from error
        except InstanceRejectedError:
            raise
        except ProviderError as error:
            await _note_funds(account, error)
            found = await self._sight.of_name(account, name)
            if not found:
                raise
            log.info("a creation whose answer was lost is found by its name", name=name, error=error.message)
            return found[0]

    async def _chosen(self, account: Account, spec: InstanceSpec, draft: NosanaDeployment) -> NosanaDeployment:
        """Of all deployments of the name as they are now, the one that is to run, whoever made it.

        Raises `ProviderUnavailableError` while the list does not show the draft: then it may lack another one, too.
        """
        found = await self._sight.of_name(account, spec.name)
        if draft.id not in {item.id for item in found}:
            raise ProviderUnavailableError(f"Nosana does not list deployment {draft.id} yet, which is to be started")
        best = found[0]
        if best.id != draft.id:
            log.warning("another deployment of the name goes first", name=spec.name, nosana_id=best.id, draft=draft.id)
            record = self._records.get(spec.name) or Record(name=spec.name, credential=account.name)
            price = self._accounts.markets.price(best.market)
            await self._records.put(_noted(record, spec, best.id, best.market, price))
        return best

    async def _start(self, account: Account, deployment: NosanaDeployment) -> None:
        if deployment.status not in _STARTED_FROM:
            return
        try:
            await account.api.begin(deployment.id)
        except WrongStateError:
            log.info("a deployment was started before", nosana_id=deployment.id)
        except ProviderError as error:
            await _note_funds(account, error)
            now = await account.api.deployment(deployment.id)
            if now is None or now.status in _STARTED_FROM:
                raise


async def _note_funds(account: Account, error: ProviderError) -> None:
    if error.reason == INSUFFICIENT_FUNDS:
        await account.funds.ran_out()


def _noted(record: Record, spec: InstanceSpec, nosana_id: str, market: str, price: float) -> Record:
    return replace(
        record,
        deployment_id=spec.deployment_id,
        replica_id=spec.replica_id,
        nosana_id=nosana_id,
        market=market,
        price_per_hour=price,
        port=port_of(spec),
    )

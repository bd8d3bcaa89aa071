"""Ends deployments: waits until they can be stopped, stops them, keeps their results, and deletes them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from orchestration.service.providers.base import ProviderError
from orchestration.service.providers.nosana.accounts import Account, Accounts
from orchestration.service.providers.nosana.api import ArchivedError, NotThereError, WrongStateError
from orchestration.service.providers.nosana.models import NosanaDeployment
from orchestration.service.providers.nosana.records import Record, Records
from orchestration.service.providers.nosana.settings import NosanaSettings
from orchestration.service.providers.nosana.sight import NEVER_DELETED, Sight
from orchestration.service.providers.nosana.states import Seen

log = structlog.get_logger(__name__)

STOPPED_FROM = frozenset({"RUNNING", "ERROR", "INSUFFICIENT_FUNDS"})
_LONGEST_RETRY_S = 60.0
_MOST_DOUBLINGS = 16


class Remover:
    """Ends one deployment after the other, however long each takes."""

    def __init__(self, accounts: Accounts, records: Records, sight: Sight, settings: NosanaSettings) -> None:
        self._accounts = accounts
        self._records = records
        self._sight = sight
        self._poll_s = settings.poll_s

    async def remove(self, name: str) -> None:
        """End every deployment of the name and forget it; asks again until Nosana answers. Ends when it is gone."""
        failures = 0
        while True:
            try:
                if await self._step(name):
                    return
                failures = 0
                await asyncio.sleep(self._poll_s)
            except Exception as error:  # whatever it is: what runs is paid for until it is ended
                failures = min(failures + 1, _MOST_DOUBLINGS)
                known = error if isinstance(error, ProviderError) else None
                asked = (known.retry_after_s if known else None) or 0.0
                pause = max(asked, min(self._poll_s * 2**failures, _LONGEST_RETRY_S))
                unknown = None if known else error
                log.warning("a deletion goes on later", name=name, error=str(error), retry_in_s=pause, exc_info=unknown)
                await asyncio.sleep(pause)

    async def _step(self, name: str) -> bool:
        """Take every deployment of the name on towards its end; whether none is left."""
        record = self._records.get(name)
        if record is None:
            return True
        left = False
        account = self._accounts.of(record.credential)
        listed = [item.id for item in await self._sight.of_name(account, name)]
        known = {"", *listed, *record.abandoned}
        for nosana_id in [*listed, *({record.nosana_id} - known)]:
            seen = await self._sight.ask(account, nosana_id)
            if seen is not None:
                left |= not await self._end(name, account, seen)
            else:  # gone only once it is not listed either
                left |= nosana_id in listed
        if not left:
            await self._forget(name)
        return not left

    async def _forget(self, name: str) -> None:
        """The name is free again; drafts that cannot be deleted are remembered, so that none is taken for a new one."""
        record = self._records.get(name)
        if record is None:
            return
        if record.abandoned:
            await self._records.put(Record(name=name, credential=record.credential, abandoned=record.abandoned))
        else:
            await self._records.drop(name)

    async def _end(self, name: str, account: Account, seen: Seen) -> bool:
        """One step; whether the deployment is gone, or runs nothing and cannot be deleted."""
        deployment = seen.deployment
        try:
            if deployment.status in STOPPED_FROM:
                await account.api.stop(deployment.id)
                return False
            if deployment.status in {"STOPPED", "DRAFT", "ARCHIVED"}:
                if not await self._results_kept(name, account, seen):
                    return False
                await account.api.delete(deployment.id)
                self._sight.forget(seen)
                log.info("a deployment is deleted", name=name, nosana_id=deployment.id)
                return True
        except NotThereError:
            return False  # the next step looks whether it is listed
        except (WrongStateError, ArchivedError) as error:
            return await self._refused(name, account, deployment, error)
        return False  # STARTING and STOPPING: it can be neither stopped nor deleted yet

    async def _refused(self, name: str, account: Account, deployment: NosanaDeployment, error: ProviderError) -> bool:
        """Nosana does not do it in this state: it may be another state by now, or one that never changes."""
        now = await account.api.deployment(deployment.id)
        if now is None:
            return False
        record = self._records.get(name)
        if now.status not in NEVER_DELETED or record is None:
            return False
        await self._records.put(replace(record, abandoned=(*record.abandoned, deployment.id)))
        log.info("a deployment that runs nothing cannot be deleted", nosana_id=deployment.id, error=error.message)
        return True

    async def _results_kept(self, name: str, account: Account, seen: Seen) -> bool:
        """Whether the results of all its jobs are on disk here, or will not come."""
        for job in seen.jobs:
            known = await self._sight.result(name, account, seen.deployment.id, job, with_lines=False)
            if known is None and not self._sight.waited_enough(job):
                return False
            if known is None:
                log.warning("a job's result did not come; it goes with its deployment", name=name, job=job.address)
        return True

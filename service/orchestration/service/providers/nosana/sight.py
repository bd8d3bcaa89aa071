"""Finds what a name stands for at Nosana, and tells what it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from orchestration.service.providers.base import Instance, InstanceState, ProviderError, ProviderUnavailableError
from orchestration.service.providers.nosana.accounts import Account, Accounts
from orchestration.service.providers.nosana.flows import Flow
from orchestration.service.providers.nosana.models import NOBODY, NosanaDeployment, NosanaJob, identifier, text
from orchestration.service.providers.nosana.records import Record, Records
from orchestration.service.providers.nosana.results import Results
from orchestration.service.providers.nosana.settings import NosanaSettings
from orchestration.service.providers.nosana.states import INSUFFICIENT_FUNDS, Ending, Seen, describe
from orchestration.service.providers.nosana.streams import Streams
from orchestration.service.providers.nosana.urls import job_url

log = structlog.get_logger(__name__)

NEVER_DELETED = frozenset({"DRAFT", "ARCHIVED"})
"""States in which Nosana deletes nothing, and nothing runs."""
_RANKS = {"ERROR": 1, "INSUFFICIENT_FUNDS": 1, "STOPPED": 1, "ARCHIVED": 1, "DRAFT": 2}
"""How late those that serve nobody come among several of one name; any other one may run, and comes first."""
_TROUBLE = ("ERROR", "FAIL", "THROTTLE", "LOST")
"""Parts of the types of events that tell of trouble."""


class Sight:
    """Looks at deployments; keeps when each ended job was first seen so."""

    def __init__(
        self,
        accounts: Accounts,
        records: Records,
        results: Results,
        streams: Streams,
        *,
        tag: str,
        settings: NosanaSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounts = accounts
        self._records = records
        self._results = results
        self._streams = streams
        self._tag = tag
        self._result_wait_s = settings.result_wait_s
        self._node_url = settings.node_url
        self._clock = clock
        self._ended_at: dict[str, float] = {}
        self._unpaid: set[str] = set()

    async def find(self, name: str) -> tuple[Account, Seen] | None:
        """The deployment of a name as it is now, with its account; None when there is none.

        Raises `ProviderUnavailableError` when that cannot be known.
        """
        record = self._records.get(name)
        if record is not None and record.nosana_id and record.nosana_id not in record.abandoned:
            account = self._accounts.of(record.credential)
            seen = await self.look(account, record.nosana_id)
            if seen is None or seen.deployment.status in _RANKS:  # another gateway's may run in its place
                seen = await self._listed(account, name, record.nosana_id, seen)
            return (account, seen) if seen is not None else None
        for account in self._accounts.all():
            seen = await self._listed(account, name, "", None)
            if seen is not None:
                return account, seen
        return None

    async def _listed(self, account: Account, name: str, mine: str, known: Seen | None) -> Seen | None:
        """The deployment that the list shows for the name, where that is better than what is known of one's own.

        One that was not found is gone only when the list does not show it either.
        """
        for _ in range(2):  # it may go between the two questions
            first = next(iter(await self.of_name(account, name)), None)
            if first is None or (known is not None and first.status in _RANKS):
                return known
            if mine and first.id != mine and first.status == "DRAFT":  # never started in the place of what is gone
                return known
            seen = await self.look(account, first.id)
            if seen is not None:
                return seen
        raise ProviderUnavailableError(f"Nosana lists a deployment for {name}, and does not find it")

    async def of_name(self, account: Account, name: str) -> list[NosanaDeployment]:
        """Deployments that carry the name, without those that were given up; the one that is meant comes first.

        Several come of a creation whose answer was lost, or of two gateways that create at the same time.
        """
        found = await account.api.find(self._tag + name)
        return self.meant(name, found)

    def meant(self, name: str, found: Sequence[NosanaDeployment]) -> list[NosanaDeployment]:
        """Of deployments of one name, oldest first, those that count; the one that is meant comes first.

        Every gateway must mean the same one, so its own record does not count: what runs goes before what has ended,
        and that before drafts, which cost nothing.
        """
        record = self._records.get(name)
        abandoned = record.abandoned if record is not None else ()
        counting = [item for item in found if item.id not in abandoned or item.status not in NEVER_DELETED]
        return sorted(counting, key=lambda item: _RANKS.get(item.status, 0))

    async def look(self, account: Account, nosana_id: str) -> Seen | None:
        """The deployment and its jobs as they are now: as its stream tells, else as asked; None when it is gone."""
        return self._streams.seen(nosana_id) or await self.ask(account, nosana_id)

    async def ask(self, account: Account, nosana_id: str) -> Seen | None:
        """The same, always asked for."""
        mark = self._streams.mark(nosana_id)
        deployment, jobs = await asyncio.gather(account.api.deployment(nosana_id), account.api.jobs(nosana_id))
        if deployment is None:
            return None
        seen = Seen(deployment=deployment, jobs=jobs)
        self._streams.checked(seen, mark)
        return seen

    async def node(self, account: Account, nosana_id: str, job: NosanaJob) -> str:
        """The host of a job, where the list of jobs does not tell it; empty while there is none."""
        found = identifier((await account.api.job(nosana_id, job.address)).get("node"))
        return "" if found == NOBODY else found

    async def instance(self, name: str, account: Account, seen: Seen) -> Instance:
        """The instance that the name stands for."""
        record = self._records.get(name) or Record(name=name, credential=account.name)
        ending = await self._ending(name, account, seen)
        trouble = ""
        if seen.deployment.status in {"ERROR", "INSUFFICIENT_FUNDS"}:
            trouble = await self._trouble(account, seen.deployment.id)
        fields: dict[str, Any] = describe(seen, ending, trouble)
        if fields.get("reason") == INSUFFICIENT_FUNDS and seen.deployment.id not in self._unpaid:
            self._unpaid.add(seen.deployment.id)  # it says so for ever, also when there are credits again
            await account.funds.ran_out()
        if seen.running is not None and not fields.get("endpoint") and record.port:
            fields["endpoint"] = job_url(self._node_url, 0, record.port, seen.running.address)
        if record.deleting:
            fields = {"state": InstanceState.STOPPING, "message": "it is being deleted"}
        return Instance(
            name=name,
            provider_instance_id=seen.deployment.id,
            deployment_id=record.deployment_id,
            replica_id=record.replica_id,
            price_per_hour=record.price_per_hour or self._accounts.markets.price(seen.deployment.market),
            **fields,
        )

    async def _ending(self, name: str, account: Account, seen: Seen) -> Ending:
        job = seen.over
        if job is None:
            return Ending()
        flow = await self.result(name, account, seen.deployment.id, job, with_lines=False)
        return Ending(flow=flow, awaited=flow is None and not self.waited_enough(job))

    async def result(
        self, name: str, account: Account, nosana_id: str, job: NosanaJob, *, with_lines: bool
    ) -> Flow | None:
        """The result of a job that ended, if it is there."""
        self._ended_at.setdefault(job.address, self._clock())
        return await self._results.get(account.api, name, nosana_id, job, with_lines=with_lines)

    def waited_enough(self, job: NosanaJob) -> bool:
        """Whether the result of a job that ended will not come any more, as far as can be told."""
        if not job.started_at and not job.node:  # no host ever had it
            return True
        return self._clock() - self._ended_at.setdefault(job.address, self._clock()) >= self._result_wait_s

    async def _trouble(self, account: Account, nosana_id: str) -> str:
        """The newest event that tells of trouble."""
        try:
            events = await account.api.events(nosana_id)
        except ProviderError as error:
            log.info("events of a deployment cannot be read", nosana_id=nosana_id, error=error.message)
            return ""
        for event in events:
            kind = text(event.get("type"))
            if any(part in kind for part in _TROUBLE):
                return f"{kind}: {text(event.get('message')) or 'without a message'}"
        return ""

    def forget(self, seen: Seen) -> None:
        """The deployment is gone."""
        self._streams.end(seen.deployment.id)
        self._unpaid.discard(seen.deployment.id)
        for job in seen.jobs:
            self._ended_at.pop(job.address, None)

"""The log of an instance: from the hosts of its jobs while they run, from their results once they ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

import aiohttp

from orchestration.service.providers.base import LogRecord, ProviderUnavailableError
from orchestration.service.providers.nosana.accounts import Account
from orchestration.service.providers.nosana.cursors import Aligner, Cursor, parse_cursor
from orchestration.service.providers.nosana.flows import Entry, Flow
from orchestration.service.providers.nosana.models import NosanaJob
from orchestration.service.providers.nosana.node import SIGNED_MESSAGE, LogRequest, open_log
from orchestration.service.providers.nosana.results import Results
from orchestration.service.providers.nosana.settings import NosanaSettings
from orchestration.service.providers.nosana.sight import Sight
from orchestration.service.providers.nosana.states import Seen

QUIET_S = 1.0
"""A host that is silent for so long has told its whole history."""
_HISTORY_S = 20.0
"""Longest time for which a page of a log that goes on is read."""
_SIGNATURE_KEPT_S = 300.0


class LogReader:
    """Reads logs, for one provider."""

    def __init__(
        self,
        sight: Sight,
        results: Results,
        session: aiohttp.ClientSession,
        settings: NosanaSettings,
        quiet_s: float = QUIET_S,
    ) -> None:
        self._sight = sight
        self._results = results
        self._session = session
        self._node_url = settings.node_url
        self._poll_s = settings.poll_s
        self._quiet_s = quiet_s
        self._signatures: dict[str, tuple[str, float]] = {}

    async def read(self, name: str, *, after: str, follow: bool) -> AsyncGenerator[LogRecord]:
        """Lines after the cursor; with ``follow`` until the instance ends.

        Raises `ProviderUnavailableError` when a host or Nosana does not answer; reading goes on at the last cursor.
        """
        cursor = parse_cursor(after)
        while True:
            found = await self._sight.find(name)
            if found is None:
                for record in await self._of_the_gone(name, cursor):
                    yield record
                return
            account, seen = found
            complete = True
            for job in _from(seen.jobs, cursor):
                at = cursor if cursor is not None and cursor.job == job.address else Cursor(job=job.address)
                async with aclosing(self._of_job(name, account, seen, job, at, follow=follow)) as lines:
                    async for entry, place in lines:
                        at = place
                        yield _record(entry, place)
                cursor = at
                if not await self._is_complete(name, account, seen, job):
                    complete = False
                    break  # the next job's lines come after this one's
            if not follow or (complete and _is_over(seen)):
                return
            await asyncio.sleep(self._poll_s)

    async def _of_the_gone(self, name: str, cursor: Cursor | None) -> list[LogRecord]:
        """What results of a deployment that was deleted still hold."""
        kept = await self._results.kept(name)
        jobs = [job for job, _ in kept]
        begin = jobs.index(cursor.job) if cursor is not None and cursor.job in jobs else 0
        records: list[LogRecord] = []
        for job, flow in kept[begin:]:
            at = cursor if cursor is not None and cursor.job == job else Cursor(job=job)
            records += [_record(entry, place) for entry, place in _of_result(flow, at)]
        return records

    async def _is_complete(self, name: str, account: Account, seen: Seen, job: NosanaJob) -> bool:
        """Whether the job's lines were all there to be read."""
        if not job.ended:
            return False
        known = await self._sight.result(name, account, seen.deployment.id, job, with_lines=False)
        return known is not None or self._sight.waited_enough(job)

    async def _of_job(
        self, name: str, account: Account, seen: Seen, job: NosanaJob, after: Cursor, *, follow: bool
    ) -> AsyncGenerator[tuple[Entry, Cursor]]:
        if job.ended:
            flow = await self._sight.result(name, account, seen.deployment.id, job, with_lines=True)
            for found in _of_result(flow, after) if flow is not None else ():
                yield found
        elif job.state == "RUNNING" and (node := job.node or await self._sight.node(account, seen.deployment.id, job)):
            async with aclosing(self._live(account, seen, job, node, after, follow=follow)) as lines:
                async for found in lines:
                    yield found

    async def _live(
        self, account: Account, seen: Seen, job: NosanaJob, node: str, after: Cursor, *, follow: bool
    ) -> AsyncGenerator[tuple[Entry, Cursor]]:
        """The lines that the job's host tells; until it closes the log, the job has ended, or the history was told."""
        request = LogRequest(
            url=self._node_url.replace("{node}", node),
            job=job.address,
            signer=seen.deployment.signer,
            signature=await self._signature(account, seen.deployment.id),
        )
        aligner = Aligner(after, live=True)
        started = time.monotonic()
        async with open_log(self._session, request) as log:
            while True:
                entries = await log.next(max(self._quiet_s, self._poll_s if follow else 0.0))
                if entries is None:
                    return
                for entry in entries:
                    for found in aligner.take(entry):
                        yield found
                if not follow and (not entries or time.monotonic() - started > _HISTORY_S):
                    return
                if not entries and await self._has_ended(account, seen, job):
                    return

    async def _has_ended(self, account: Account, seen: Seen, job: NosanaJob) -> bool:
        now = await self._sight.look(account, seen.deployment.id)
        return now is None or any(item.ended for item in now.jobs if item.address == job.address)

    async def _signature(self, account: Account, nosana_id: str) -> str:
        known, until = self._signatures.get(nosana_id, ("", 0.0))
        if time.monotonic() < until:
            return known
        found = await account.api.signature(nosana_id, SIGNED_MESSAGE)
        if not found:
            raise ProviderUnavailableError("Nosana gives no signature for the hosts' logs")
        now = time.monotonic()
        self._signatures = {key: value for key, value in self._signatures.items() if now < value[1]}
        self._signatures[nosana_id] = (found, now + _SIGNATURE_KEPT_S)
        return found


def _from(jobs: Sequence[NosanaJob], cursor: Cursor | None) -> Sequence[NosanaJob]:
    """The jobs from that of the cursor on; all of them when it is not among them."""
    addresses = [job.address for job in jobs]
    return jobs[addresses.index(cursor.job) :] if cursor is not None and cursor.job in addresses else jobs


def _of_result(flow: Flow, after: Cursor) -> Iterator[tuple[Entry, Cursor]]:
    aligner = Aligner(after, live=False)
    for entry in flow.entries:
        yield from aligner.take(entry)
    yield from aligner.finish()


def _is_over(seen: Seen) -> bool:
    """Whether no job will print anything any more."""
    over = seen.deployment.status in {"STOPPED", "ARCHIVED", "ERROR", "INSUFFICIENT_FUNDS"}
    return seen.over is not None or (over and seen.running is None)


def _record(entry: Entry, cursor: Cursor) -> LogRecord:
    return LogRecord(time=entry.time, stream=entry.stream, message=entry.message, cursor=str(cursor))

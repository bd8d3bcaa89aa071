"""The provider: what callers ask, joined from what each part knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import aiohttp
import structlog

from orchestration.service.providers.base import (
    PROVIDER_CLOSED,
    Capabilities,
    Instance,
    InstanceSpec,
    InstanceState,
    LogRecord,
    Provider,
    ProviderContext,
    ProviderError,
    ProviderUnavailableError,
    Resource,
)
from orchestration.service.providers.http_client import HttpLimits
from orchestration.service.providers.ipfs.files import IpfsFiles
from orchestration.service.providers.nosana.accounts import Account, Accounts, tag_of
from orchestration.service.providers.nosana.api import LARGEST_RESULT
from orchestration.service.providers.nosana.creation import Creator
from orchestration.service.providers.nosana.logs import QUIET_S, LogReader
from orchestration.service.providers.nosana.models import NosanaDeployment
from orchestration.service.providers.nosana.node import new_session
from orchestration.service.providers.nosana.records import Record, Records, valid_name
from orchestration.service.providers.nosana.removal import STOPPED_FROM, Remover
from orchestration.service.providers.nosana.results import Results
from orchestration.service.providers.nosana.settings import NosanaSettings, parse
from orchestration.service.providers.nosana.sight import Sight
from orchestration.service.providers.nosana.streams import Streams
from orchestration.service.providers.unconfigured import UnconfiguredProvider

log = structlog.get_logger(__name__)

CAPABILITIES = Capabilities(
    kind="marketplace",
    log_streaming=True,
    spot=False,
    multi_gpu=True,
    multi_node=False,
    ephemeral=True,
    pricing_model="on_demand",
    engines=("custom", "infinity", "llamacpp", "ollama", "sglang", "tei", "tgi", "triton", "vllm"),
)
_LOOKS_AT_ONCE = 8
_HOUSEKEEPING_S = 600.0
_SECONDS_PER_HOUR = 3600.0


def create_provider(context: ProviderContext) -> Provider:
    """The entry point. Raises ValueError naming a setting that is wrong."""
    settings = parse(context.settings)
    if not settings.keys:
        name = context.name
        text = (
            f"provider {name} is not configured on this gateway: set api_key in [providers.{name}], "
            f"or ORCHESTRATION_PROVIDERS__{name.upper()}__API_KEY, to an API key of Nosana (nos_...)"
        )
        return UnconfiguredProvider(name, CAPABILITIES, text)
    return NosanaProvider(context, settings)


class NosanaProvider:
    """Runs each replica as a deployment of its own at Nosana."""

    def __init__(
        self,
        context: ProviderContext,
        settings: NosanaSettings,
        *,
        limits: HttpLimits | None = None,
        quiet_s: float = QUIET_S,
    ) -> None:
        self._context = context
        self._settings = settings
        self._quiet_s = quiet_s
        self._tag = tag_of(context.owner)
        self._accounts = Accounts(settings, limits)
        self._records = Records(context.data_dir)
        self._ipfs = IpfsFiles(settings.ipfs_gateways, context.data_dir / "ipfs", max_bytes=LARGEST_RESULT)
        self._results = Results(context.data_dir, self._ipfs)
        self._streams = Streams()
        self._sight = Sight(
            self._accounts,
            self._records,
            self._results,
            self._streams,
            tag=self._tag,
            settings=settings,
        )
        self._creator = Creator(self._accounts, self._records, self._sight, settings, tag=self._tag)
        self._remover = Remover(self._accounts, self._records, self._sight, settings)
        self._session: aiohttp.ClientSession | None = None
        self._reader: LogReader | None = None
        self._creations: dict[str, asyncio.Task[Instance]] = {}
        self._removals: dict[str, asyncio.Task[None]] = {}
        self._housekeeping: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The name callers use."""
        return self._context.name

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return CAPABILITIES

    async def start(self) -> None:
        """Read what an earlier process left, and go on with the deletions that it began. Asks Nosana nothing."""
        await self._records.load()
        await self._accounts.start()
        await self._ipfs.start()
        self._session = new_session()
        self._reader = LogReader(self._sight, self._results, self._session, self._settings, self._quiet_s)
        for record in self._records.all():
            if record.deleting:
                self._remove(record.name)
        self._housekeeping = asyncio.create_task(self._keep_house(), name="nosana-housekeeping")

    async def close(self) -> None:
        """End connections and background work; what is half done is found again by its name."""
        tasks: list[asyncio.Task[Any]] = [*self._creations.values(), *self._removals.values()]
        tasks += [self._housekeeping] if self._housekeeping is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._streams.close()
        await self._results.close()
        if self._session is not None:
            await self._session.close()
        await self._accounts.close()
        await self._ipfs.close()

    async def list_resources(self) -> Sequence[Resource]:
        """The markets, with their prices."""
        return await self._accounts.markets.resources(self.name)

    async def create(self, spec: InstanceSpec) -> Instance:
        """Have the deployment of the name be there and started.

        A caller that goes does not cut it short: whoever asks for the same name next waits for the same work.
        """
        self._open()
        task = self._creations.get(spec.name)
        if task is None:
            before = self._removals.get(spec.name)
            task = self._creations[spec.name] = asyncio.create_task(self._create(spec, before))
            task.add_done_callback(lambda done: self._created(spec.name, done))
        return await asyncio.shield(task)

    async def _create(self, spec: InstanceSpec, removal: asyncio.Task[None] | None) -> Instance:
        """Create it, after the removal that was under way when this was asked for; a later one waits for this."""
        if removal is not None and not removal.done():
            found = await self._sight.find(spec.name)
            if found is not None:
                return await self._sight.instance(spec.name, *found)
            await asyncio.wait({removal})  # it would take what is made now for what it is to end
        account, nosana_id = await self._creator.create(spec)
        seen = await self._sight.ask(account, nosana_id)
        if seen is None:
            raise ProviderUnavailableError(f"deployment {nosana_id} is not to be found right after it was started")
        return await self._sight.instance(spec.name, account, seen)

    def _created(self, name: str, task: asyncio.Task[Instance]) -> None:
        self._creations.pop(name, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("a creation failed", name=name, error=str(error))

    async def describe(self, name: str) -> Instance | None:
        """The instance, or None when there is none."""
        if not valid_name(name):
            return None
        found = await self._sight.find(name)
        if found is None:
            await self._lost(name)
            return None
        account, seen = found
        instance = await self._sight.instance(name, account, seen)
        if instance.state in {InstanceState.PENDING, InstanceState.RUNNING}:
            self._streams.follow(account.api, seen.deployment.id)
        return instance

    async def _lost(self, name: str) -> None:
        """Nosana has nothing of the name any more: nor have its records, unless something is being done with it."""
        record = self._records.get(name)
        busy = name in self._creations or name in self._removals
        if record is not None and record.nosana_id and not busy:
            log.warning("a deployment is gone without having been deleted here", name=name, nosana_id=record.nosana_id)
            self._streams.end(record.nosana_id)
            await self._records.drop(name)

    async def list_owned(self) -> Sequence[Instance]:
        """Every deployment whose name carries this installation's tag, oldest first."""
        found: list[tuple[str, Account, NosanaDeployment]] = []
        for account in self._accounts.all():
            named: dict[str, list[NosanaDeployment]] = {}
            for item in await account.api.deployments():
                name = item.name.removeprefix(self._tag)
                if item.name.startswith(self._tag) and valid_name(name):
                    named.setdefault(name, []).append(item)
            for name, several in named.items():
                meant = self._sight.meant(name, sorted(several, key=lambda item: (item.created_at, item.id)))
                found += [(name, account, item) for item in meant[:1]]
                await self._end_twins(name, account, meant)
        found.sort(key=lambda item: (item[2].created_at, item[2].id))
        turns = asyncio.Semaphore(_LOOKS_AT_ONCE)
        looked = await asyncio.gather(*(self._look(turns, *item) for item in found))
        return [instance for instance in looked if instance is not None]

    async def _end_twins(self, name: str, account: Account, meant: Sequence[NosanaDeployment]) -> None:
        """Have one deployment of the name run: others that were started cost as much, and serve nobody."""
        twins = [item for item in meant[1:] if item.status in STOPPED_FROM]
        if not twins or name in self._removals:
            return
        record = self._records.get(name)
        if record is not None and record.nosana_id in {item.id for item in twins}:
            try:
                await self._records.put(replace(record, nosana_id=meant[0].id, market=meant[0].market))
            except OSError as error:  # it is known for as long as this process runs
                log.warning("which deployment is meant cannot be noted", name=name, error=str(error))
        for twin in twins:
            log.warning("a second deployment of one name is stopped", name=name, nosana_id=twin.id, kept=meant[0].id)
            try:
                await account.api.stop(twin.id)
            except ProviderError as error:
                log.warning("a second deployment cannot be stopped yet", nosana_id=twin.id, error=error.message)
            self._streams.end(twin.id)

    async def _look(
        self, turns: asyncio.Semaphore, name: str, account: Account, deployment: NosanaDeployment
    ) -> Instance | None:
        """It as it is; one that cannot be looked at costs only its own state: that it is there is known."""
        async with turns:
            try:
                seen = await self._sight.look(account, deployment.id)
                return await self._sight.instance(name, account, seen) if seen is not None else None
            except Exception as error:
                log.warning("an instance that is listed cannot be looked at", name=name, exc_info=error)
                return Instance(
                    name=name,
                    provider_instance_id=deployment.id,
                    state=InstanceState.PENDING,
                    message=f"it cannot be looked at now: {error}",
                )

    async def delete(self, name: str) -> None:
        """End every deployment of the name; goes on in the background, and after a restart."""
        self._open()
        if not valid_name(name) or name in self._removals:
            return
        record = self._records.get(name)
        if record is None or not record.nosana_id:
            found = await self._sight.find(name)
            if found is None and name not in self._creations:
                if record is not None and not record.abandoned:  # of a creation that came to nothing
                    await self._records.drop(name)
                return
            account = found[0] if found else self._accounts.all()[0]  # a creation under way knows better
            record = self._records.get(name) or Record(name=name, credential=account.name)
            record = replace(record, nosana_id=found[1].deployment.id) if found else record
        if name in self._removals:  # asked for by another caller meanwhile
            return
        try:
            await self._records.put(replace(record, deleting=True))
        except OSError as error:
            log.error("a deletion that is begun cannot be noted: a restart forgets it", name=name, error=str(error))
        finally:  # what runs is paid for, whatever the disk does
            self._remove(name)

    def _remove(self, name: str) -> None:
        record = self._records.get(name)
        if name in self._removals:
            return
        if record is not None:
            self._streams.end(record.nosana_id)
        task = self._removals[name] = asyncio.create_task(
            self._finish(name, self._creations.get(name)), name=f"nosana-remove-{name}"
        )
        task.add_done_callback(lambda done: self._removed(name, done))

    async def _finish(self, name: str, creation: asyncio.Task[Instance] | None) -> None:
        """Remove it, after a creation that was under way: what that starts must not be taken for a draft."""
        if creation is not None:
            await asyncio.wait({creation})
        await self._remover.remove(name)

    def _removed(self, name: str, task: asyncio.Task[None]) -> None:
        self._removals.pop(name, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a deletion failed; it is begun again when it is asked for", name=name, exc_info=error)

    def logs(self, name: str, *, after: str = "", follow: bool = False) -> AsyncIterator[LogRecord]:
        """Lines after the cursor: live from the host of a job, then from its result."""
        return self._logs(name, after, follow=follow)

    async def _logs(self, name: str, after: str, *, follow: bool) -> AsyncGenerator[LogRecord]:
        if not valid_name(name):
            return
        async with aclosing(self._open().read(name, after=after, follow=follow)) as lines:
            async for record in lines:
                yield record

    async def _keep_house(self) -> None:
        while True:
            before = self._context.clock() - self._settings.results_kept_hours * _SECONDS_PER_HOUR
            try:
                await self._results.forget_older(before)
                await self._ipfs.forget_older(before)
            except OSError as error:
                log.warning("old results cannot be removed", error=str(error))
            await asyncio.sleep(_HOUSEKEEPING_S)

    def _open(self) -> LogReader:
        """What reads logs. Raises `ProviderError` PROVIDER_CLOSED before `start` and after `close`."""
        if self._reader is None or self._session is None or self._session.closed:
            raise ProviderError(PROVIDER_CLOSED, f"provider {self.name} is closed", retryable=False)
        return self._reader

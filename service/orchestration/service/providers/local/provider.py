"""The ``local`` provider: replicas as processes of this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import structlog

from orchestration.service.providers.base import (
    PROVIDER_CLOSED,
    Capabilities,
    Instance,
    InstanceSpec,
    LogRecord,
    Provider,
    ProviderContext,
    ProviderError,
    Resource,
)
from orchestration.service.providers.local import machine, processes, removal
from orchestration.service.providers.local.creation import Creator
from orchestration.service.providers.local.gpus import GpuInventory, NvmlInventory
from orchestration.service.providers.local.instances import View, look, to_instance
from orchestration.service.providers.local.logreader import read_log
from orchestration.service.providers.local.records import (
    TRASH_KEPT_S,
    InstanceFolder,
    empty_trash,
    folders,
    prepare_root,
    valid_name,
)
from orchestration.service.providers.local.settings import parse
from orchestration.service.providers.local.watching import SupervisorWatch

log = structlog.get_logger(__name__)

_T = TypeVar("_T")
_THREADS = 8
_LOG_THREADS = 4
"""Of their own: neither do logs wait for a creation, nor a creation for logs."""
_POLL_S = 0.02
_KILL_MARGIN_S = 10.0
"""How long after the grace a supervisor may take before it is itself held to hang, and killed."""

CAPABILITIES = Capabilities(
    kind="local",
    log_streaming=True,
    spot=False,
    multi_gpu=True,
    multi_node=False,
    ephemeral=False,
    pricing_model="fixed",
    engines=("custom", "infinity", "llamacpp", "ollama", "sglang", "tei", "tgi", "triton", "vllm"),
)


def create_provider(context: ProviderContext) -> Provider:
    """The entry point. Raises ValueError naming a setting that is wrong."""
    return LocalProvider(context)


class LocalProvider:
    """Runs each replica under a supervisor process that outlives the gateway; see `records` for what lies on disk."""

    def __init__(self, context: ProviderContext, inventory: GpuInventory | None = None) -> None:
        self._context = context
        self._settings = parse(context.settings)
        self._inventory = inventory or NvmlInventory()
        self._creator = Creator(context, self._settings, self._inventory)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"provider-{context.name}")
        self._log_threads = ThreadPoolExecutor(_LOG_THREADS, thread_name_prefix=f"logs-{context.name}")
        self._watch = SupervisorWatch(self._supervisor_ended)
        self._tasks: set[asyncio.Task[None]] = set()
        self._deletions: set[str] = set()
        self._closed = False

    @property
    def name(self) -> str:
        return self._context.name

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def start(self) -> None:
        """Adopt running instances; finish creations, deletions and losses that an earlier process left unfinished."""
        await self._in_thread(prepare_root, self._context.data_dir)
        views = await self._in_thread(self._look_at_all)
        for view in views:
            self._adopt(view)
            if removal.needs_settling(view) or (view.corrupt and not view.supervised):
                await self._settle(view.folder)
        self._background(self._empty_trash())
        log.info("local provider started", provider=self.name, host=socket.gethostname(), instances=len(views))

    async def close(self) -> None:
        """Stop watching. Engines and their supervisors go on."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A creation under way comes to its end, so that it is not left half done.
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._log_threads.shutdown)
        self._watch.close()

    async def list_resources(self) -> Sequence[Resource]:
        return await self._in_thread(self._resources)

    async def create(self, spec: InstanceSpec) -> Instance:
        loop = asyncio.get_running_loop()

        def on_start(name: str, pid: int) -> None:
            loop.call_soon_threadsafe(self._started, name, pid)

        view = await self._in_thread(self._creator.create, spec, on_start)
        return self._instance(view)

    async def describe(self, name: str) -> Instance | None:
        if not valid_name(name):
            return None
        view = look(self._folder(name))
        if view is not None and removal.needs_settling(view):
            await self._settle(view.folder)
            view = look(view.folder)
        return self._instance(view) if view is not None and view.owned_by(self._context.owner) else None

    async def list_owned(self) -> Sequence[Instance]:
        views = await self._in_thread(self._look_at_all)
        unsettled = [view.folder for view in views if removal.needs_settling(view)]
        if unsettled:
            await asyncio.gather(*(self._settle(folder) for folder in unsettled))
            views = await self._in_thread(self._look_at_all)
        return [self._instance(view) for view in views if view.owned_by(self._context.owner)]

    async def delete(self, name: str) -> None:
        folder = self._folder(name)
        view = look(folder) if valid_name(name) else None
        if view is None or (view.recorded and not view.owned_by(self._context.owner)):
            return
        try:
            await self._in_thread(folder.mark_deleting)
        except FileNotFoundError:
            return  # removed in the meantime
        self._finish_deletion(folder)

    def logs(self, name: str, *, after: str = "", follow: bool = False) -> AsyncIterator[LogRecord]:
        folder = self._folder(name) if valid_name(name) else None
        return (
            _nothing()
            if folder is None
            else read_log(folder, after=after, follow=follow, ended=partial(_has_ended, folder), submit=self._read)
        )

    def _folder(self, name: str) -> InstanceFolder:
        return InstanceFolder(self._context.data_dir, name)

    def _instance(self, view: View) -> Instance:
        return to_instance(view, self._settings.price_per_hour)

    def _resources(self) -> list[Resource]:
        return machine.resources(
            self.name,
            self._inventory.read(),
            self._creator.taken_gpus(),
            self._settings.price_per_hour,
            self._settings.region,
        )

    def _look_at_all(self) -> list[View]:
        """Every instance, oldest first."""
        views = [view for folder in folders(self._context.data_dir) if (view := look(folder)) is not None]
        return sorted(views, key=lambda view: (view.spec.created_at if view.spec else 0.0, view.folder.name))

    def _adopt(self, view: View) -> None:
        if view.deleting:
            self._finish_deletion(view.folder)
        state = view.state
        if view.supervised and state is not None:
            name = view.folder.name
            if processes.is_ours(state.supervisor_pid, state.supervisor_start, self._context.owner, name):
                self._watch.add(name, state.supervisor_pid)

    def _started(self, name: str, pid: int) -> None:
        if not self._closed:
            self._watch.add(name, pid)

    def _supervisor_ended(self, name: str) -> None:
        if not self._closed:
            self._background(self._settle(self._folder(name)))

    async def _settle(self, folder: InstanceFolder) -> None:
        await self._in_thread(removal.settle, folder, self._context.owner, self._context.clock)

    def _finish_deletion(self, folder: InstanceFolder) -> None:
        if folder.name not in self._deletions:
            self._deletions.add(folder.name)
            self._background(self._delete(folder)).add_done_callback(lambda _: self._deletions.discard(folder.name))

    async def _delete(self, folder: InstanceFolder) -> None:
        """Have the supervisor end its engine, then forget the instance."""
        loop = asyncio.get_running_loop()
        kill_at = loop.time() + await self._in_thread(_grace, folder) + _KILL_MARGIN_S
        asked = False
        # The mark goes with the instance: without it, the lock is that of a new one of the same name.
        while folder.deleting() and folder.locked():
            if not asked:
                asked = await self._in_thread(removal.ask_to_stop, folder, self._context.owner)
            if loop.time() > kill_at:
                log.warning("the supervisor does not end; killing it", instance=folder.name)
                await self._in_thread(processes.sweep, self._context.owner, folder.name)
                kill_at = loop.time() + _KILL_MARGIN_S
            await asyncio.sleep(_POLL_S)
        await self._settle(folder)

    async def _empty_trash(self) -> None:
        while True:
            await self._in_thread(empty_trash, self._context.data_dir, self._context.clock())
            await asyncio.sleep(TRASH_KEPT_S / 4)

    def _background(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work failed", exc_info=error)

    def _read(self, work: Callable[[], _T]) -> Future[_T]:
        self._check_open()
        return self._log_threads.submit(work)

    async def _in_thread(self, work: Callable[..., _T], *args: object) -> _T:
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args))

    def _check_open(self) -> None:
        if self._closed:
            raise ProviderError(PROVIDER_CLOSED, f"provider {self.name} is closed", retryable=False)


def _has_ended(folder: InstanceFolder) -> bool:
    # Asked many times a second for each log that is followed: the lock alone tells, without reading the records.
    return not folder.locked()


def _grace(folder: InstanceFolder) -> float:
    view = look(folder)
    return view.spec.stop_grace_s if view and view.spec else 0.0


async def _nothing() -> AsyncIterator[LogRecord]:
    """No lines."""
    no_records: tuple[LogRecord, ...] = ()
    for record in no_records:
        yield record

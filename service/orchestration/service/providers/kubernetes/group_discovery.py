"""Whether a cluster serves LeaderWorkerSets and lets the gateway use them: asked now and then, not at every look."""

from __future__ import annotations

import asyncio
import time

from orchestration.service.providers.base import ProviderError, ProviderUnavailableError
from orchestration.service.providers.kubernetes import names
from orchestration.service.providers.kubernetes.api import GROUP_VERSION, KubeApi, group_path
from orchestration.service.providers.kubernetes.refusals import RefusedError, as_provider_error

NOT_SERVED = f"the cluster does not serve LeaderWorkerSet ({GROUP_VERSION})"
NOT_ALLOWED = "the gateway's role does not allow leaderworkersets, see docs/kubernetes/rbac.yaml"
_KEPT_S = 300.0
_ASKED_AGAIN_S = 15.0
"""Where there are none they may be installed, and an operator who has done so waits for it."""
_TRUSTED_S = 300.0
"""How much longer the last answer holds while there is no new one."""
_AFTER_FAILURE_S = 5.0
"""So long after a failure nobody asks: each look would wait for the next one."""
_PATIENCE_S = 2.0
"""How long who has an answer waits for a newer one."""


def unseen(what: str, why_not: str) -> ProviderUnavailableError:
    """What cannot be done to a group of which the LeaderWorkerSet may not be looked at."""
    reason = "FORBIDDEN" if why_not == NOT_ALLOWED else "PROVIDER_UNAVAILABLE"
    return ProviderUnavailableError(f"kubernetes cannot {what}: {why_not}", reason=reason)


class GroupDiscovery:
    """What one namespace is known to take."""

    def __init__(self, api: KubeApi, namespace: str, owner: str) -> None:
        self._api = api
        self._target = group_path(namespace)
        self._selector = names.owner_selector(owner)
        self._known: str | None = None
        self._known_at = float("-inf")
        self._failure: ProviderError | None = None
        """Of the last try, if it had no answer."""
        self._failed_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Ask nothing any more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def why_not(self) -> str:
        """Why there can be no groups here; empty when there can.

        The last answer where there is no new one, for a while. Raises `ProviderError` without any.
        """
        kept_s = _ASKED_AGAIN_S if self._known else _KEPT_S
        now = time.monotonic()
        last = self._trusted(kept_s)
        if now - self._known_at > kept_s and now - self._failed_at > _AFTER_FAILURE_S:
            await self._refresh(None if last is None else _PATIENCE_S)
            last = last if (new := self._trusted(kept_s)) is None else new
        if last is not None:
            return last
        assert self._failure is not None, "a try without a limit ends with an answer, or with none"
        raise self._failure.with_traceback(None)

    def _trusted(self, kept_s: float) -> str | None:
        return self._known if time.monotonic() - self._known_at <= kept_s + _TRUSTED_S else None

    async def _refresh(self, patience_s: float | None) -> None:
        """One question for all who wait; whoever leaves does not end it."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._try())
        task = self._asking
        await asyncio.wait({task}, timeout=patience_s)
        if task.done():
            task.result()

    async def _try(self) -> None:
        try:
            self._known = await self._ask()
        except RefusedError as refused:
            self._failed(as_provider_error(refused, "tell whether it serves LeaderWorkerSet"))
        except ProviderError as error:
            self._failed(error)
        else:
            self._known_at = time.monotonic()

    def _failed(self, error: ProviderError) -> None:
        self._failure, self._failed_at = error, time.monotonic()

    async def _ask(self) -> str:
        # All groups are asked for, and not one of them: whatever stands on the way may say 404 as well.
        try:
            if GROUP_VERSION not in await self._api.api_groups():
                return NOT_SERVED
            await self._api.find_all(self._target, labelSelector=self._selector)
        except RefusedError as refused:
            if refused.status != 403:
                raise
            return NOT_ALLOWED
        return ""

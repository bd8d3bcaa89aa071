"""Nosana's API with one API key: each call, and what its failures mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestration.service.providers.base import (
    InstanceRejectedError,
    ProviderError,
    ProviderUnavailableError,
)
from orchestration.service.providers.http_client import HttpClient, HttpLimits, HttpStatusError
from orchestration.service.providers.nosana.models import (
    Market,
    NosanaDeployment,
    NosanaJob,
    items,
    mapping,
    number,
    text,
    to_deployment,
    to_job,
    to_market,
)

_PAGE = "100"
_MOST_PAGES = 1000
_CREDENTIALS_RETRY_S = 300.0
_WRONG_STATE = "incorrect state"
_ARCHIVED = "archived deployment"


class WrongStateError(ProviderError):
    """The deployment is not in a state in which it can be done; nothing was changed."""

    def __init__(self, message: str) -> None:
        super().__init__("NOSANA_WRONG_STATE", message, retryable=True)


class ArchivedError(ProviderError):
    """The deployment is archived, and will never change again."""

    def __init__(self, message: str) -> None:
        super().__init__("NOSANA_ARCHIVED", message, retryable=False)


class NotThereError(ProviderError):
    """There is no such thing at Nosana."""

    def __init__(self, message: str) -> None:
        super().__init__("NOSANA_NOT_FOUND", message, retryable=False)


class NosanaApi:
    """The calls. Each raises `ProviderUnavailableError` when nothing can be known, else what `_meaning` makes of it.

    A call that changes something is made once: a deployment that is created twice may be paid for twice.
    """

    def __init__(self, base_url: str, api_key: str, limits: HttpLimits | None = None) -> None:
        self.http = HttpClient(
            "Nosana", base_url, headers={"Authorization": f"Bearer {api_key}"}, secrets=[api_key], limits=limits
        )

    async def start(self) -> None:
        """Prepare to ask."""
        await self.http.start()

    async def close(self) -> None:
        """End every connection."""
        await self.http.close()

    async def markets(self) -> list[Market]:
        """Every market."""
        return [market for told in items(await self._get("/api/markets/")) if (market := to_market(told)).address]

    async def balance(self) -> float | None:
        """Credits that are not spoken for, in USD; None where the account has none to tell of."""
        try:
            told = mapping(await self._get("/api/credits/balance"))
        except (NotThereError, InstanceRejectedError):
            return None
        if "assignedCredits" not in told:
            return None
        return (
            number(told["assignedCredits"]) - number(told.get("reservedCredits")) - number(told.get("settledCredits"))
        )

    async def find(self, name: str) -> list[NosanaDeployment]:
        """Deployments of exactly this name, oldest first."""
        found = [item for item in await self._pages({"name": name}) if item.name == name]
        return sorted(found, key=lambda item: (item.created_at, item.id))

    async def deployments(self) -> list[NosanaDeployment]:
        """Every deployment of the account."""
        return await self._pages({})

    async def _pages(self, query: Mapping[str, str]) -> list[NosanaDeployment]:
        found: list[NosanaDeployment] = []
        params = {**query, "limit": _PAGE, "sort_order": "asc"}
        for _ in range(_MOST_PAGES):
            told = mapping(await self._get("/api/deployments", params))
            found += [item for one in items(told.get("deployments")) if (item := to_deployment(one)).id]
            cursor = text(mapping(told.get("pagination")).get("cursor_next"))
            if not cursor:
                return found
            params = {**params, "cursor": cursor}
        raise ProviderUnavailableError(f"Nosana lists more than {_MOST_PAGES} pages of deployments")

    async def deployment(self, deployment_id: str) -> NosanaDeployment | None:
        """The deployment; None when there is none."""
        try:
            return to_deployment(mapping(await self._get(f"/api/deployments/{deployment_id}")))
        except NotThereError:
            return None

    async def jobs(self, deployment_id: str) -> list[NosanaJob]:
        """Its latest jobs, at most a page of them, oldest first."""
        params = {"limit": _PAGE, "sort_order": "desc"}
        try:
            told = mapping(await self._get(f"/api/deployments/{deployment_id}/jobs", params))
        except NotThereError:
            return []
        found = [job for item in items(told.get("jobs")) if (job := to_job(item)).address]
        return sorted(found, key=lambda job: (job.created_at, job.address))

    async def job(self, deployment_id: str, job: str) -> Mapping[str, Any]:
        """A job with its result, as the deployment's manager has it; empty when it has none."""
        try:
            return mapping(await self._get(f"/api/deployments/{deployment_id}/jobs/{job}"))
        except NotThereError:
            return {}

    async def chain_job(self, job: str) -> Mapping[str, Any]:
        """A job as the chain has it; empty when it is unknown there."""
        try:
            return mapping(await self._get(f"/api/jobs/{job}"))
        except NotThereError:
            return {}

    async def events(self, deployment_id: str) -> list[Mapping[str, Any]]:
        """What happened to a deployment, the newest first as far as the server says so."""
        try:
            told = await self._get(f"/api/deployments/{deployment_id}/events", {"limit": "20", "sort_order": "desc"})
        except NotThereError:
            return []
        return items(mapping(told).get("events"))

    async def signature(self, deployment_id: str, message: str) -> str:
        """What a host is shown to be let in: ``message:signature``."""
        told = mapping(await self._get(f"/api/deployments/{deployment_id}/header", {"message": message}))
        header = text(told.get("header"))
        return header if header.startswith(f"{message}:") else f"{message}:{header}"

    async def create(self, body: Mapping[str, Any]) -> NosanaDeployment:
        """Make a draft, which costs nothing until it is started."""
        told = to_deployment(mapping(await self._change("POST", "/api/deployments/create", body)))
        if not told.id:
            raise ProviderError("BAD_ANSWER", "Nosana's answer to a creation names no deployment", retryable=True)
        return told

    async def begin(self, deployment_id: str) -> None:
        """Start it. Raises `WrongStateError` when it was started before."""
        await self._change("POST", f"/api/deployments/{deployment_id}/start")

    async def stop(self, deployment_id: str) -> None:
        """Stop it. Raises `WrongStateError` while it is starting, and when it has stopped."""
        await self._change("POST", f"/api/deployments/{deployment_id}/stop")

    async def delete(self, deployment_id: str) -> None:
        """Delete it with all its jobs and results; no error when it is gone. Raises `WrongStateError` until stopped."""
        try:
            await self._change("DELETE", f"/api/deployments/{deployment_id}")
        except NotThereError:
            return

    async def _get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        try:
            return (await self.http.call("GET", path, params=params)).json()
        except HttpStatusError as error:
            meaning = _meaning(error)
            if meaning is error:  # nothing was to be changed: it can be asked again
                raise ProviderUnavailableError(error.message, retry_after_s=error.retry_after_s) from error
            raise meaning from error

    async def _change(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            return (await self.http.call(method, path, body=body, idempotent=False)).json()
        except HttpStatusError as error:
            raise _meaning(error) from error


def _meaning(error: HttpStatusError) -> ProviderError:
    """What a refusal means; the error itself where only time may tell."""
    match error.status:
        case 401 | 403:
            return ProviderUnavailableError(
                error.message, reason="NOSANA_CREDENTIALS_REFUSED", retry_after_s=_CREDENTIALS_RETRY_S
            )
        case 404:
            return NotThereError(error.message)
        case 500 if _WRONG_STATE in error.body:
            return WrongStateError(error.message)
        case 500 if _ARCHIVED in error.body:
            return ArchivedError(error.message)
        case status if 300 <= status < 500:
            return InstanceRejectedError("NOSANA_REJECTED", error.message)
        case _:
            return error

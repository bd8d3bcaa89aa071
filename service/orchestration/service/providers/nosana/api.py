"""Nosana's API with one API key: each call, and what its failures mean."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, cast

from orchestration.service.providers.base import (
    InstanceRejectedError,
    ProviderError,
    ProviderUnavailableError,
)
from orchestration.service.providers.http_client import Answer, HttpClient, HttpLimits, HttpStatusError
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
from orchestration.service.providers.nosana.states import INSUFFICIENT_FUNDS

LARGEST_RESULT = 8 * 1024 * 1024
"""Bytes of a job's result; a longer one counts as none. What is read of it takes some times as much memory."""
_PAGE = "100"
_MOST_PAGES = 1000
_CREDENTIALS_RETRY_S = 300.0
_FUNDS_RETRY_S = 60.0
_BAD_ANSWER = "BAD_ANSWER"
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
    """The calls. Each look raises `ProviderUnavailableError` when nothing can be known; each change, what `_meaning`
    makes of a refusal.

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
            told = mapping((await self.http.call("GET", "/api/credits/balance")).json())
        except HttpStatusError as error:
            if error.status in {400, 402, 404} and _is_own(error):
                return None
            raise _unavailable(error) from error
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
            try:
                told = mapping(await self._get("/api/deployments", params))
            except NotThereError as error:  # a list that is empty is there
                raise ProviderUnavailableError(error.message, reason=_BAD_ANSWER) from error
            page = [to_deployment(one) for one in _listed(told, "deployments")]
            if not all(item.id for item in page):
                raise ProviderUnavailableError("Nosana lists a deployment without an id", reason=_BAD_ANSWER)
            found += page
            cursor = text(mapping(told.get("pagination")).get("cursor_next"))
            if not cursor:
                return found
            params = {**params, "cursor": cursor}
        raise ProviderUnavailableError(f"Nosana lists more than {_MOST_PAGES} pages of deployments")

    async def deployment(self, deployment_id: str) -> NosanaDeployment | None:
        """The deployment; None when there is none."""
        try:
            found = to_deployment(mapping(await self._get(f"/api/deployments/{deployment_id}")))
        except NotThereError:
            return None
        if found.id != deployment_id:
            text = f"Nosana's answer about deployment {deployment_id} is not about it"
            raise ProviderUnavailableError(text, reason=_BAD_ANSWER)
        return found

    async def jobs(self, deployment_id: str) -> list[NosanaJob]:
        """Its latest jobs, at most a page of them, oldest first."""
        params = {"limit": _PAGE, "sort_order": "desc"}
        try:
            told = mapping(await self._get(f"/api/deployments/{deployment_id}/jobs", params))
        except NotThereError:
            return []
        found = [to_job(item) for item in _listed(told, "jobs")]
        if not all(job.address for job in found):
            raise ProviderUnavailableError("Nosana lists a job without an address", reason=_BAD_ANSWER)
        return sorted(found, key=lambda job: (job.created_at, job.address))

    async def job(self, deployment_id: str, job: str) -> Mapping[str, Any]:
        """A job with its result, as the deployment's manager has it; empty when it has none."""
        try:
            return mapping(await self._get(f"/api/deployments/{deployment_id}/jobs/{job}", by_host=True))
        except NotThereError:
            return {}

    async def chain_job(self, job: str) -> Mapping[str, Any]:
        """A job as the chain has it; empty when it is unknown there, which anything that answers may say: not much is
        lost by believing it, and it is asked again.
        """
        try:
            return mapping(await self._get(f"/api/jobs/{job}", by_host=True))
        except NotThereError:
            return {}
        except ProviderUnavailableError as error:
            if isinstance(error.__cause__, HttpStatusError) and error.__cause__.status == 404:
                return {}
            raise

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
            raise ProviderError(_BAD_ANSWER, "Nosana's answer to a creation names no deployment", retryable=True)
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

    async def _get(self, path: str, params: Mapping[str, str] | None = None, *, by_host: bool = False) -> Any:
        """``by_host``: a host wrote part of the answer, which may be long, or made to take long to read."""
        try:
            answer = await self.http.call("GET", path, params=params)
            return await _read_result(path, answer) if by_host else answer.json()
        except HttpStatusError as error:
            if error.status == 404 and _is_own(error):
                raise NotThereError(error.message) from error
            raise _unavailable(error) from error
        except ProviderUnavailableError:
            raise
        except ProviderError as error:  # nothing was to be changed: it can be asked again
            raise ProviderUnavailableError(error.message, reason=error.reason) from error

    async def _change(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            return (await self.http.call(method, path, body=body, idempotent=False)).json()
        except HttpStatusError as error:
            raise _meaning(error) from error


async def _read_result(path: str, answer: Answer) -> Any:
    """What an answer holds that a host may have made long, or to take long."""
    if len(answer.body) > LARGEST_RESULT:
        text = f"the result at {path} has more than {LARGEST_RESULT} bytes"
        raise ProviderUnavailableError(text, reason="ANSWER_TOO_LARGE")
    return await asyncio.to_thread(answer.json)


def _listed(told: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The objects of a list that must be there: an answer in another shape does not say that there is nothing."""
    value = told.get(key)
    found = items(value)
    if not isinstance(value, list) or len(found) != len(cast("list[object]", value)):
        raise ProviderUnavailableError(f"Nosana's answer holds no list of {key}", reason=_BAD_ANSWER)
    return found


def _is_own(error: HttpStatusError) -> bool:
    """Whether the API itself said it, whose refusals are objects with an ``error``, and not a proxy before it."""
    try:
        told = json.loads(error.body)
    except (ValueError, RecursionError):
        return False
    return bool(text(mapping(told).get("error")))


def _unavailable(error: HttpStatusError) -> ProviderUnavailableError:
    """What any refusal of a look means: nothing is known."""
    if error.status in {401, 403}:
        return ProviderUnavailableError(
            error.message, reason="NOSANA_CREDENTIALS_REFUSED", retry_after_s=_CREDENTIALS_RETRY_S
        )
    return ProviderUnavailableError(error.message, retry_after_s=error.retry_after_s)


def _meaning(error: HttpStatusError) -> ProviderError:
    """What a refusal of a change means; where only time may tell, its effect is unknown: look before asking again."""
    match error.status:
        case 401 | 403:
            return _unavailable(error)
        case 402:
            return ProviderUnavailableError(error.message, reason=INSUFFICIENT_FUNDS, retry_after_s=_FUNDS_RETRY_S)
        case 404 if _is_own(error):
            return NotThereError(error.message)
        case 500 if _WRONG_STATE in error.body:
            return WrongStateError(error.message)
        case 500 if _ARCHIVED in error.body:
            return ArchivedError(error.message)
        case 400 | 413 | 422:
            return InstanceRejectedError("NOSANA_REJECTED", error.message)
        case status if status < 500:  # a proxy's: the request may have gone through before
            return ProviderError(error.reason, error.message, retryable=True, retry_after_s=error.retry_after_s)
        case _:
            return error

"""The calls to one Ray cluster's dashboard that are needed here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, ValidationError

from orchestration.service.providers.base import InstanceRejectedError, ProviderError, ProviderUnavailableError
from orchestration.service.providers.http_client import Answer, HttpClient, HttpLimits, HttpStatusError
from orchestration.service.providers.ray.answers import JOBS, Job, Node, NodesAnswer, UsageAnswer
from orchestration.service.providers.ray.logtext import LogText
from orchestration.service.providers.ray.settings import ClusterSettings

_LIMITS = HttpLimits(total_s=4.5, connect_s=3.0)
"""A look at one instance has to be over within 5 s."""
_LIST_S = 9.0
_SUBMIT_S = 25.0
_LOG_SILENCE_S = 30.0
_PING_S = 20.0
"""How often a log that is followed is asked whether anybody is there."""
_LONGEST_FRAME = 16 * 1024 * 1024
_MOST_NODES = 10_000

_M = TypeVar("_M", bound=BaseModel)


class RayApi:
    """One cluster. Every method raises `ProviderUnavailableError` when it cannot be asked."""

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._name = f"Ray cluster {settings.title!r} at {settings.address}"
        headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
        secrets = (settings.token,)
        self._http = HttpClient(self._name, settings.address, headers=headers, secrets=secrets, limits=_LIMITS)

    async def start(self) -> None:
        """Make the session; nothing is asked."""
        await self._http.start()

    async def close(self) -> None:
        """End every connection."""
        await self._http.close()

    async def job(self, name: str) -> Job | None:
        """The job of this submission id, or None when the cluster says that there is none."""
        answer = await self._found("GET", name)
        return None if answer is None else self._parsed(Job, answer)

    async def jobs(self) -> list[Job]:
        """All submitted jobs, whoever's."""
        answer = await self._call("GET", "/api/jobs/", total_s=_LIST_S)
        try:
            return [job for job in JOBS.validate_python(answer.json()) if job.type == "SUBMISSION"]
        except ValidationError as error:
            raise self._not_understood(error) from error

    async def submit(self, body: Mapping[str, Any]) -> bool:
        """Submit a job; False when the cluster failed, which it does when there is one of that id already.

        Its refusal of a second one makes it safe to ask again after an answer that never came. Raises
        `InstanceRejectedError` when the cluster does not take such a job.
        """
        try:
            await self._call("POST", "/api/jobs/", body=dict(body), idempotent=True, total_s=_SUBMIT_S)
        except HttpStatusError as error:
            if error.status == 500:  # a traceback; what it is about stands at its end, which may be cut off
                return False
            if error.status in {400, 413, 422}:
                if not error.body or error.body.startswith("<"):  # a page of something on the way: Ray answers in words
                    raise self._no_dashboard(error) from error
                raise InstanceRejectedError("RAY_REFUSED_JOB", error.message) from error
            raise
        return True

    async def stop(self, name: str) -> None:
        """Have the job ended; no error when there is none, or it has ended."""
        await self._found("POST", name, "/stop", idempotent=True)

    async def delete(self, name: str) -> None:
        """Have the ended job forgotten; no error when there is none. Of one that runs, Ray answers 500."""
        await self._found("DELETE", name)

    async def nodes(self) -> list[Node]:
        """All nodes that the cluster tells of, dead ones too."""
        path = f"/api/v0/nodes?limit={_MOST_NODES}&detail=true"
        found = self._parsed(NodesAnswer, await self._call("GET", path, total_s=_LIST_S))
        if not found.result:
            raise ProviderUnavailableError(f"{self._name} cannot tell its nodes: {found.msg}")
        return found.data.result.result

    async def used(self) -> dict[str, dict[str, float]]:
        """By node id, how much of each resource is taken."""
        return self._parsed(UsageAnswer, await self._call("GET", "/nodes?view=summary", total_s=_LIST_S)).used()

    async def log(self, name: str) -> AsyncGenerator[str]:
        """What the job has printed so far, in pieces that end with a line; nothing when there is no such job."""
        text = LogText()
        try:
            async with self._http.stream("GET", f"{_path(name)}/logs", read_s=_LOG_SILENCE_S) as response:
                async for chunk in response.content.iter_any():
                    if piece := text.feed(chunk):
                        yield piece
        except HttpStatusError as error:
            if not _is_missing(error, name):
                raise self._translated(error) from error
            return
        if piece := text.finish():
            yield piece

    async def tail(self, name: str) -> AsyncGenerator[str]:
        """The same from the beginning, and on until the job has ended or the connection breaks."""
        url = self._http.url(f"{_path(name)}/logs/tail")
        try:
            async with self._http.session.ws_connect(url, heartbeat=_PING_S, max_msg_size=_LONGEST_FRAME) as socket:
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        return
                    yield str(message.data)
        except aiohttp.WSServerHandshakeError as error:  # a proxy that passes no WebSockets on, say
            text = f"{self._name} does not let the log of {name} be followed: {error.status}"
            raise ProviderUnavailableError(text) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            text = f"{self._name}: following the log of {name} broke off: {self._http.clean(str(error))}"
            raise ProviderUnavailableError(text) from error

    async def _found(self, method: str, name: str, sub: str = "", *, idempotent: bool | None = None) -> Answer | None:
        """What is answered of the job, or of what is below it; None when there is no such job."""
        try:
            return await self._http.call(method, f"{_path(name)}{sub}", idempotent=idempotent)
        except HttpStatusError as error:
            if _is_missing(error, name):
                return None
            raise self._translated(error) from error

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        idempotent: bool | None = None,
        total_s: float | None = None,
    ) -> Answer:
        try:
            return await self._http.call(method, path, body=body, idempotent=idempotent, total_s=total_s)
        except HttpStatusError as error:
            raise self._translated(error) from error

    def _translated(self, error: HttpStatusError) -> ProviderError:
        """Answers that say nothing of a job but that the cluster is not the one, or not open to this gateway."""
        if error.status in {401, 403}:
            key = f"credential.{self._settings.name}.token" if self._settings.name else "token"
            text = f"{self._name} asks for another token than {key} of [providers.ray]: {error.message}"
            return ProviderUnavailableError(text, reason="PROVIDER_DENIED", retry_after_s=30.0)
        if 300 <= error.status < 400 or error.status in {404, 405}:
            return self._no_dashboard(error)
        return error

    def _no_dashboard(self, error: HttpStatusError) -> ProviderError:
        return ProviderUnavailableError(f"{self._name} does not answer as a Ray dashboard does: {error.message}")

    def _parsed(self, model: type[_M], answer: Answer) -> _M:
        try:
            return model.model_validate(answer.json())
        except ValidationError as error:
            raise self._not_understood(error) from error

    def _not_understood(self, error: ValidationError) -> ProviderError:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        text = f"{self._name} answered something that is not understood: {where}: {first['msg']}"
        return ProviderError("BAD_ANSWER", text, retryable=True)


def _path(name: str) -> str:
    return f"/api/jobs/{quote(name, safe='')}"


def _is_missing(error: HttpStatusError, name: str) -> bool:
    """Whether Ray itself says that there is no such job: a 404 of anything else on the way does not mean that."""
    return error.status == 404 and error.body.startswith(f"Job {name} does not exist")

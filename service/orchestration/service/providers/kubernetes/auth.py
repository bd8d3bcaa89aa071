"""Who the gateway is to a cluster: nobody, a token, a token in a file that is renewed, or one that a command gives."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from orchestration.service.providers.base import ProviderUnavailableError

_FILE_KEPT_S = 60.0
"""The kubelet renews the token of a service account well before it ends, and asks for it to be read once a minute."""
_EARLY_S = 60.0
"""So long before its end a token is renewed."""
_COMMAND_S = 30.0
_EXEC_VERSIONS = tuple(f"client.authentication.k8s.io/{version}" for version in ("v1", "v1beta1"))


class Auth(Protocol):
    """A source of bearer tokens."""

    async def token(self, *, renew: bool) -> str:
        """The token, empty for none; ``renew``: the last one was refused. Raises `ProviderUnavailableError`."""
        ...


class FixedToken:
    """One that is written down, or none; a client certificate may stand in its place."""

    def __init__(self, token: str = "") -> None:
        self._token = token

    async def token(self, *, renew: bool) -> str:
        """Always the same."""
        del renew
        return self._token


class TokenFile:
    """One in a file that somebody renews."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = ""
        self._read_at = 0.0

    async def token(self, *, renew: bool) -> str:
        """What the file held within the last minute."""
        if renew or not self._token or time.monotonic() - self._read_at > _FILE_KEPT_S:
            try:
                self._token = (await asyncio.to_thread(self._path.read_text)).strip()
            except OSError as error:
                text = f"the token in {self._path} cannot be read: {error.strerror}"
                raise ProviderUnavailableError(text, reason="NO_CREDENTIALS") from None
            self._read_at = time.monotonic()
        return self._token


@dataclass(frozen=True, slots=True)
class ExecCommand:
    """A command of a kubeconfig that prints a token, such as those of cloud providers."""

    version: str
    command: Sequence[str]
    env: Mapping[str, str]


class ExecToken:
    """A token that a command gives, until it ends."""

    def __init__(self, command: ExecCommand) -> None:
        if command.version not in _EXEC_VERSIONS:
            raise ValueError(f"exec apiVersion is {command.version!r}; known are {', '.join(_EXEC_VERSIONS)}")
        self._command = command
        self._token = ""
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def token(self, *, renew: bool) -> str:
        """The last token while it holds, else the command is run; by one caller for all who wait."""
        before = self._token
        async with self._lock:
            refused = renew and self._token == before
            if refused or not self._token or time.time() > self._until - _EARLY_S:
                self._token, self._until = await self._run()
            return self._token

    async def _run(self) -> tuple[str, float]:
        info = {"apiVersion": self._command.version, "kind": "ExecCredential", "spec": {"interactive": False}}
        env = {**os.environ, **self._command.env, "KUBERNETES_EXEC_INFO": json.dumps(info)}
        program = self._command.command[0]
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command.command,
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            raise _failed(program, f"it cannot be run: {error.strerror}") from None
        try:
            async with asyncio.timeout(_COMMAND_S):
                output, _ = await process.communicate()
        except TimeoutError:
            raise _failed(program, f"it printed nothing within {_COMMAND_S:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise _failed(program, f"it exited with code {process.returncode}")
        return _credential(program, output)


def _credential(program: str, output: bytes) -> tuple[str, float]:
    """The token and the Unix time at which it ends. What was printed is not told: it is a secret."""
    try:
        status: dict[str, Any] = json.loads(output)["status"]
        token = str(status["token"])
        ends = status.get("expirationTimestamp")
        until = datetime.fromisoformat(ends).timestamp() if ends else float("inf")
    except (ValueError, KeyError, TypeError):
        raise _failed(program, "it printed no ExecCredential with a status.token") from None
    return token, until


def _failed(program: str, why: str) -> ProviderUnavailableError:
    text = f"no credentials from the kubeconfig's command {program!r}: {why}"
    return ProviderUnavailableError(text, reason="NO_CREDENTIALS")

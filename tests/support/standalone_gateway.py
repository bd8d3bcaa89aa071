"""`orchestration gateway` as a process, and certificates for it."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DEADLINE_S = 60.0


class StandaloneGateway:
    """A process, and the lines that it logs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    async def line(self, message: str) -> dict[str, Any]:
        """The next line with this message, or the first of those that came."""
        assert self.process.stderr is not None
        async with asyncio.timeout(_DEADLINE_S):
            while True:
                for known in self.lines:
                    if known["message"] == message:
                        return known
                text = await self.process.stderr.readline()
                assert text, f"it ended without {message!r}: {self.lines}"
                assert text.startswith(b"{"), text
                self.lines.append(json.loads(text))

    async def base(self) -> str:
        """Its URL, once it serves."""
        return f"http://{(await self.line('serving'))['http']}"

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(_DEADLINE_S):
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def standalone(*arguments: str, ends_with: int = 0) -> AsyncGenerator[StandaloneGateway, None]:
    """A gateway process on a free port, which must end so, on SIGTERM at the latest."""
    command = [sys.executable, "-m", "orchestration.service.cli.main", "gateway", "--http-listen", "127.0.0.1:0"]
    process = await asyncio.create_subprocess_exec(*command, *arguments, stderr=asyncio.subprocess.PIPE)
    running = StandaloneGateway(process)
    try:
        yield running
    finally:
        code = await running.end()
    assert code == ends_with


class Authority:
    """A certificate authority that lives in a folder, made by OpenSSL's command."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._key = folder / f"{name}.key"
        self.file = folder / f"{name}.pem"
        _openssl(
            "req", "-x509", *_NEW_KEY, "-keyout", self._key, "-out", self.file, "-subj", f"/CN={name}", "-days", "2"
        )

    def issue(self, name: str) -> tuple[Path, Path]:
        """Files of a certificate for a DNS name, and of its key; ``here`` stands for this machine's address."""
        certificate, key, request, names = (self._folder / f"{name}.{end}" for end in ("crt", "key", "csr", "ext"))
        names.write_text("subjectAltName=" + ("IP:127.0.0.1" if name == "here" else f"DNS:{name}"))
        _openssl("req", "-new", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        signer = ("-CA", self.file, "-CAkey", self._key, "-CAcreateserial", "-days", "2", "-extfile", names)
        _openssl("x509", "-req", "-in", request, *signer, "-out", certificate)
        return certificate, key


def _openssl(*arguments: str | Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)

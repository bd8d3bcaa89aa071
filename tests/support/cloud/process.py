"""The fake cloud's process, started and told what to do by a test."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_ROOT = Path(__file__).parents[3]


class CloudProcess:
    """Starts the cloud; `url` is where providers reach it. A context manager that ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.cloud.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it; what it ran is gone with it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def make(self, account: str, **settings: Any) -> None:
        """Make an empty account with these settings (see `server._configure`)."""
        self._call("PUT", account, settings)

    def change(self, account: str, **settings: Any) -> None:
        """Change settings, plan faults, kill instances, lose nodes."""
        self._call("PATCH", account, settings)

    def look(self, account: str) -> dict[str, Any]:
        """What there is: now, journal, instances, and the faults that came."""
        return dict(self._call("GET", account, None))

    def forget(self, account: str) -> None:
        """Drop the account."""
        self._call("DELETE", account, None)

    def _call(self, method: str, account: str, body: object) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, f"/control/{account}", data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, f"{method} {account}: {answer.status} {text!r}"
            return json.loads(text)
        finally:
            connection.close()

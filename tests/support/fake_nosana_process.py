"""The fake Nosana as a process of its own, and the provider on it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from orchestration.service.domain.backoff import Backoff
from orchestration.service.providers.base import InstanceSpec, ProviderContext
from orchestration.service.providers.http_client import HttpLimits
from orchestration.service.providers.nosana.provider import NosanaProvider
from orchestration.service.providers.nosana.settings import parse
from tests.support.provider_processes import make_spec

_ROOT = Path(__file__).parents[2]
LIMITS = HttpLimits(total_s=10.0, backoff=Backoff(initial_s=0.01, maximum_s=0.05), circuit_open_s=0.2)


class NosanaProcess:
    """Starts the fake; a context manager that ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fake_nosana"],
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
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def settings(self, key: str, **more: str) -> dict[str, str]:
        """The provider's settings for an account."""
        return {
            "api_key": f"nos_{key}",
            "base_url": self.url,
            "node_url": f"{self.url}/node/{{node}}",
            "ipfs_gateways": self.url,
            "poll_s": "0.05",
            "result_wait_s": "3",
            **more,
        }

    def change(self, key: str, **settings: Any) -> None:
        """Change an account's behaviour, and do what is told: see `fake_nosana`."""
        self._call("PATCH", key, settings)

    def look(self, key: str) -> dict[str, Any]:
        """What an account has, and what was done with it."""
        return dict(self._call("GET", key, None))

    def _call(self, method: str, key: str, body: object) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, f"/control/{key}", None if body is None else json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, f"{method} {key}: {answer.status} {text!r}"
            return json.loads(text)
        finally:
            connection.close()


class NosanaHarness:
    """One installation with an account of its own."""

    def __init__(self, fake: NosanaProcess, data_dir: Path, settings: Mapping[str, str]) -> None:
        self.fake = fake
        self.key = uuid.uuid4().hex[:12]
        self.data_dir = data_dir
        self.owner = f"test-{uuid.uuid4().hex}"
        self.settings = fake.settings(self.key, **settings)
        self.provider = self.new_provider()

    def new_provider(self, **settings: str) -> NosanaProvider:
        """Another provider on the same folder, as a gateway started later has it."""
        context = ProviderContext(name="nosana", data_dir=self.data_dir, owner=self.owner)
        return NosanaProvider(context, parse({**self.settings, **settings}), limits=LIMITS, quiet_s=0.3)

    async def restart(self, **settings: str) -> NosanaProvider:
        """Close the provider, and start one that has to find everything again."""
        await self.provider.close()
        self.provider = self.new_provider(**settings)
        await self.provider.start()
        return self.provider

    def spec(self, name: str, **changes: Any) -> InstanceSpec:
        """A spec for this installation."""
        given = {
            "owner": self.owner,
            "command": ("serve", "--port", "{port}"),
            "image": "docker.io/org/engine:1",
            "container_port": 9000,
            "health_path": "/health",
            "gpu_count": 1,
        }
        return make_spec(name, **(given | changes))

    def serving(self, name: str) -> InstanceSpec:
        # One that is deleted at once never came to a host: hosts keep what jobs print.
        return self.spec(name, env={"FAKE_LINES": "3", **({"FAKE_QUEUE_S": "30"} if name == "gone" else {})})

    def exiting(self, name: str, lines: int, delay_s: float = 0) -> InstanceSpec:
        return self.spec(name, env={"FAKE_LINES": str(lines), "FAKE_DELAY_S": str(delay_s), "FAKE_EXIT_CODE": "3"})

    def running(self, name: str) -> int:
        active = {"STARTING", "RUNNING", "STOPPING"}
        found = [item for item in self.look()["deployments"] if item["name"].endswith(f"-{name}")]
        return sum(item["status"] in active for item in found)

    def look(self) -> dict[str, Any]:
        """What the account has, and what was done with it."""
        return self.fake.look(self.key)

    def change(self, **settings: Any) -> None:
        """Change how the account behaves."""
        self.fake.change(self.key, **settings)


@asynccontextmanager
async def nosana_harness(fake: NosanaProcess, data_dir: Path, **settings: str) -> AsyncGenerator[NosanaHarness]:
    """A started provider with an account of its own."""
    harness = NosanaHarness(fake, data_dir, settings)
    await harness.provider.start()
    try:
        yield harness
    finally:
        await harness.provider.close()

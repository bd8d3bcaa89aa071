"""A cluster for tests: its instances run on the nodes that agents registered, and are lost with them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from orchestration.service.providers.base import Capabilities, Instance, InstanceSpec, InstanceState
from tests.support.fake_provider import FakeProvider

CLUSTER = Capabilities(
    kind="cluster",
    log_streaming=False,
    spot=False,
    multi_gpu=True,
    multi_node=False,
    ephemeral=False,
    pricing_model="fixed",
    engines=("custom",),
    places_on_nodes=True,
)


class NodeProvider(FakeProvider):
    """Keeps instances by name, each on its node. All of them answer at one port, which is this object's own server."""

    def __init__(self, name: str = "fake") -> None:
        super().__init__(name, CLUSTER)
        self.instances: dict[str, Instance] = {}
        self.node_of: dict[str, str] = {}
        self.created: list[tuple[float, str, str]] = []
        """When each instance was asked for (Unix seconds), its name, and its node."""
        self.unreachable: set[str] = set()
        """Nodes that nobody can reach: what is on them can be neither looked at nor ended."""
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen where every instance answers."""
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def create(self, spec: InstanceSpec) -> Instance:
        """The instance, on the node that was chosen for it."""
        if spec.name not in self.instances:
            assert self._server is not None
            port = self._server.sockets[0].getsockname()[1]
            self.created.append((time.time(), spec.name, spec.node))
            self.node_of[spec.name] = spec.node
            self.instances[spec.name] = Instance(
                name=spec.name,
                provider_instance_id=spec.name,
                state=InstanceState.RUNNING,
                endpoint=f"http://127.0.0.1:{port}",
                started_at=time.time(),
                deployment_id=spec.deployment_id,
                replica_id=spec.replica_id,
            )
        return self.instances[spec.name]

    async def describe(self, name: str) -> Instance | None:
        """What is known of it; of one that cannot be reached, what was known before."""
        return self.instances.get(name)

    async def list_owned(self) -> Sequence[Instance]:
        """All of them."""
        return tuple(self.instances.values())

    async def delete(self, name: str) -> None:
        """End it, unless nobody can reach it."""
        if name not in self.instances:
            return
        if self.node_of[name] in self.unreachable:
            self.instances[name] = replace(self.instances[name], state=InstanceState.STOPPING)
        else:
            del self.instances[name]

    def end(self, name: str, *, exit_code: int) -> None:
        """Let the process of an instance end."""
        self.instances[name] = replace(self.instances[name], state=InstanceState.EXITED, exit_code=exit_code)

    def on(self, node: str) -> list[str]:
        """Names of the instances on a node."""
        return [name for name in self.instances if self.node_of[name] == node]

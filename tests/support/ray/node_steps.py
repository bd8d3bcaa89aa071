"""The steps of the scenario that look at the cluster's nodes in the inventory."""

from __future__ import annotations

import time
from typing import Any

from tests.support.gateway import Api, eventually


class NodeSteps:
    """What the inventory says of the nodes of one pool."""

    def __init__(self, pool: str, within_s: float) -> None:
        self._pool = pool
        self._within_s = within_s

    async def nodes(self, api: Api) -> dict[str, dict[str, Any]]:
        """By what Ray calls them."""
        found = await api.rest.ok("GET", f"/deployment/list/pool/{self._pool}/inventory")
        return {node["provider_instance_id"].split("/")[1]: node for node in found["nodes"]}

    async def joined(self, api: Api) -> dict[str, dict[str, Any]]:
        """The two raylets with their GPU each, once they are there; the head, which is given no work, is not."""

        async def look() -> dict[str, dict[str, Any]] | None:
            found = await self.nodes(api)
            return found if len(found) == 2 else None

        found: dict[str, dict[str, Any]] = await eventually(look, within_s=self._within_s)
        for node in found.values():
            has = (node["state"], node["gpu_type"], node["gpu_total"], node["vcpu_total"])
            assert has == ("READY", "A100", 1, 2), node
        return found

    async def used(self, api: Api, node_id: str) -> None:
        """Wait until the node's GPU is told as taken, and no other's."""

        async def look() -> bool:
            found = await self.nodes(api)
            return {name: node["gpu_allocated"] for name, node in found.items() if node["state"] == "READY"} == {
                name: int(name == node_id) for name, node in found.items() if node["state"] == "READY"
            }

        await eventually(look, within_s=self._within_s)

    async def lost(self, api: Api, node_id: str) -> float:
        """Wait until the node is LOST while the other is READY; the seconds that took."""
        began = time.monotonic()

        async def look() -> bool:
            states = {name: node["state"] for name, node in (await self.nodes(api)).items()}
            return states == {name: "LOST" if name == node_id else "READY" for name in states}

        await eventually(look, within_s=self._within_s)
        return time.monotonic() - began

    async def heard_again(self, api: Api, before: dict[str, dict[str, Any]]) -> None:
        """Wait until the nodes that live are heard of later than ``before``; nothing else of any has changed."""

        async def look() -> bool:
            found = await self.nodes(api)
            assert _durable(found) == _durable(before)
            return all(
                node["last_heartbeat_at"] > before[name]["last_heartbeat_at"]
                for name, node in found.items()
                if node["state"] == "READY"
            )

        await eventually(look, within_s=self._within_s)


def _durable(nodes: dict[str, dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    fields = ("node_id", "state", "gpu_total", "gpu_type", "hostname")
    return {name: tuple(node[field] for field in fields) for name, node in nodes.items()}

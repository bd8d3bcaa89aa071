"""Steps on a real cluster: a replica over both of its nodes, from the offer to the GPUs that are free again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.gateway import Api, eventually

ENGINE = Path(__file__).with_name("spread_engine.py")
_PATIENCE_S = 120.0


class Spreading:
    """The steps, in order."""

    def __init__(self, api: Api, pool: str, python: str) -> None:
        self._api = api
        self._request: dict[str, Any] = {
            "model_name": "spread",
            "inference_model": "none",
            "engine": "custom",
            "pool_id": pool,
            "gpu_per_replica": 2,
            "replicas": 1,
            "env": {"SAID": "hello"},
            "configuration": {
                "command": [python, str(ENGINE), "{nodes}", "{gpus_per_node}"],
                "multi_node": "ray",
                "health_path": "/",
            },
        }

    async def run(self) -> None:
        """All of them."""
        found = await self._offer(1)
        answer = await self._api.rest.ok("POST", "/deployment/deploy", self._request)
        deployment_id = str(answer["deployment_id"])
        status = await self._api.reach(deployment_id, "RUNNING", within_s=_PATIENCE_S)
        (replica,) = status["replica_statuses"]
        async with self._api.rest.session.get(f"{replica['endpoint']}/") as served:
            told = await served.json(content_type=None)
        assert len({node for node, *_ in told}) == 2, told
        assert [rest for _, *rest in told] == [[1, "hello"], [1, "hello"]], told
        await self._api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment_id})
        await self._api.reach(deployment_id, "STOPPED", within_s=_PATIENCE_S)
        assert await self._offer(1) == found, "its GPUs are free again"

    async def _offer(self, available: int) -> Any:
        """The offer of both nodes together, once so many can be had."""

        async def look() -> Any:
            status, found = await self._api.rest.call("GET", "/deployment/provider/resources?provider=ray")
            offers: list[dict[str, Any]] = found.get("resources", []) if status == 200 else []
            return [item["provider_resource_id"] for item in offers if _is_wide(item, available)]

        return await eventually(look, within_s=_PATIENCE_S)


def _is_wide(item: dict[str, Any], available: int) -> bool:
    wide = item["metadata"].get("machines") == "2" and item["gpu_count"] == 2
    return bool(wide and item["available_count"] == available)

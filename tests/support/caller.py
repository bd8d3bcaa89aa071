"""What tests of the API say often, by either face."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.support.faces import DOMAIN, ApiError, Face
from tests.support.gateway import Api, eventually, tiny


def moment(text: str) -> datetime:
    """A printed time. Texts of different precision do not sort by time."""
    return datetime.fromisoformat(text)


class Caller:
    """A caller of a running gateway."""

    def __init__(self, face: Face, gateway: Api) -> None:
        self.face = face
        self.gateway = gateway
        self.call = face.call
        self.stream = face.stream
        self.converse = face.converse

    async def refused(self, code: str, reason: str, rpc: str, /, *, headers: Any = None, **fields: Any) -> ApiError:
        """The error of a call that must be refused with this code and reason."""
        with pytest.raises(ApiError) as caught:
            await self.call(rpc, headers=headers, **fields)
        error = caught.value
        assert (error.code, error.reason) == (code, reason), str(error)
        assert error.info["domain"] == DOMAIN
        assert bool(error.violations) == (code == "INVALID_ARGUMENT"), str(error)
        return error

    async def invalid(self, field: str, rpc: str, /, **fields: Any) -> str:
        """What a call that must be refused says of the one field that is wrong."""
        error = await self.refused("INVALID_ARGUMENT", "INVALID_FIELD", rpc, **fields)
        assert list(error.violations) == [field], str(error)
        return error.violations[field]

    async def make_pool(self, name: str = "pool", **fields: Any) -> str:
        """A pool on this machine; its id."""
        request = {"pool_name": name, "owner_type": "user", "owner_id": "ann", "provider": "local", **fields}
        return str((await self.call("RegisterPool", **request))["pool_id"])

    async def make_model(self, name: str = "llama", version: str = "1", **fields: Any) -> str:
        """A registered version; its id."""
        request = {"backend": "vllm", "artifact_uri": "meta-llama/Llama-3-8B-Instruct", **fields}
        return str((await self.call("RegisterModel", model_name=name, model_version=version, **request))["model_id"])

    async def deploy(self, pool_id: str, *arguments: str, **fields: Any) -> str:
        """A deployment of the tiny engine; its id."""
        return str((await self.call("DeployModel", **tiny(pool_id, *arguments, **fields)))["deployment_id"])

    async def status(self, deployment_id: str) -> dict[str, Any]:
        """The deployment as it is now."""
        return await self.call("GetDeployment", deployment_id=deployment_id)

    async def reach(self, deployment_id: str, *wanted: str) -> dict[str, Any]:
        """The deployment once its status is one of those wanted."""

        async def look() -> dict[str, Any] | None:
            found = await self.status(deployment_id)
            return found if found["status"] in wanted else None

        return dict(await eventually(look, within_s=60, why=lambda: f"{deployment_id} never became {wanted}"))

    async def running(self, *arguments: str, **fields: Any) -> str:
        """A deployment of the tiny engine that runs, in a pool of its own; its id."""
        deployment_id = await self.deploy(await self.make_pool(), *arguments, **fields)
        await self.reach(deployment_id, "RUNNING")
        return deployment_id

    async def terminate(self, deployment_id: str) -> None:
        """Terminate, and wait until it has stopped."""
        await self.call("DeleteDeployment", deployment_id=deployment_id)
        await self.reach(deployment_id, "STOPPED")

    async def clean_up(self) -> None:
        """End every engine: they outlive their gateway."""
        for deployment in (await self.call("ListDeployments", page_size=1000))["deployments"]:
            await self.call("DeleteDeployment", deployment_id=deployment["deployment_id"])
        for deployment in (await self.call("ListDeployments", page_size=1000))["deployments"]:
            await self.reach(deployment["deployment_id"], "STOPPED")

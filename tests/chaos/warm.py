"""Makes this process one from which a control plane starts in a tenth of a second.

Whatever is imported, compiled or cached at the first use is so before the first child is forked.
"""

from __future__ import annotations

import asyncio
import gc
import shutil
from pathlib import Path

from orchestration.service.logging import configure_logging
from tests.chaos.plane import PROVIDER, Plane, PlaneConfig
from tests.chaos.points import Points
from tests.chaos.skipping import Busy
from tests.support.cloud.process import CloudProcess

_ACCOUNT = "warm"


def warm(cloud: CloudProcess, folder: Path) -> None:
    """Run a control plane here for a moment."""
    cloud.make(_ACCOUNT, offers=[{"resource_id": "big"}])
    folder.mkdir(parents=True)
    configure_logging("error", "console")
    asyncio.run(_run(PlaneConfig(folder=folder, cloud_url=cloud.url, account=_ACCOUNT)))
    cloud.forget(_ACCOUNT)
    shutil.rmtree(folder)
    gc.collect()
    gc.freeze()


async def _run(config: PlaneConfig) -> None:
    plane = Plane(config, Points(trace=False), Busy())
    await plane.start()
    pool = {"pool_name": "p", "owner_type": "user", "owner_id": "a", "provider": PROVIDER}
    pool_id = (await plane.call("RegisterPool", pool))["pool_id"]
    body = {"model_name": "m", "inference_model": "m", "engine": "custom", "pool_id": pool_id, "request_id": "r"}
    body |= {"configuration": {"command": ["serve"], "image": "serve:1"}, "env": {"CLOUD_LINES": "2"}}
    key = {"deployment_id": (await plane.call("DeployModel", body))["deployment_id"], "request_id": "r"}
    await plane.settle(20.0, ("RUNNING",))
    await plane.call("UpdateDeployment", {**key, "env": {"V": "2"}})
    await plane.call("ScaleDeployment", {**key, "replicas": 2})
    await plane.settle(20.0, ("RUNNING",))
    await plane.call("DeleteDeployment", key)
    await plane.settle(20.0, ("STOPPED",))
    await plane.call("StartDeployment", key)
    await plane.dump()
    await plane.close()

"""Schemathesis against a gateway of its own: ``python -m tests.support.schemathesis_run --max-time 600 --seed 7``.

Further arguments go to ``schemathesis run``.
"""

from __future__ import annotations

import asyncio
import sys
import sysconfig
import tempfile
from pathlib import Path

from tests.support.gateway import Api, GatewayProcess, end_engines

_HOOKS = "tests.support.schemathesis_hooks"


async def seed(api: Api) -> None:
    """Make what requests can find: a pool, a model, a node and a deployment, each with the examples' names too."""
    pool_id = await api.make_pool("example")
    model = {"model_name": "example", "model_version": "example", "backend": "vllm", "artifact_uri": "org/example"}
    await api.rest.ok("POST", "/v1/models", model)
    node = {"provider": "local", "provider_instance_id": "example", "pool_id": pool_id, "gpu_total": 1}
    await api.rest.ok("POST", "/v1/nodes", node)
    await api.deploy(pool_id, replicas=1)


async def schemathesis_finds(data_dir: Path, *arguments: str) -> tuple[int, str]:
    """Run it against a new gateway. Gives its exit code, 0 when it finds nothing, and what it printed."""
    gateway = GatewayProcess(data_dir)
    try:
        async with gateway.api() as api:
            await seed(api)
            return await _run(api.rest.base, *arguments)
    finally:
        await gateway.stop()
        end_engines(data_dir)


async def _run(base: str, *arguments: str) -> tuple[int, str]:
    program = Path(sysconfig.get_path("scripts"), "schemathesis")
    root = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            program,
            "run",
            f"{base}/openapi.json",
            *("--checks", "all", "--continue-on-failure", "--no-color", "--request-timeout", "30"),
            *arguments,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root), "SCHEMATHESIS_HOOKS": _HOOKS, "HOME": folder},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def main() -> int:
    """Print what is found."""
    with tempfile.TemporaryDirectory() as folder:
        code, output = asyncio.run(schemathesis_finds(Path(folder, "data"), *sys.argv[1:]))
    sys.stdout.write(output)
    return code


if __name__ == "__main__":
    sys.exit(main())

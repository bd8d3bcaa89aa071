"""What goes wrong beside the engine must not keep the engine from being replaced."""

from __future__ import annotations

from pathlib import Path

from tests.support.gateway import running_gateway


async def test_an_engine_is_replaced_although_its_log_cannot_be_kept(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "logs").write_text("in the way of the folder")
    async with running_gateway(data_dir) as api:
        policy = {"max_attempts": 1}
        deployment = await api.deploy(await api.make_pool(), "--exit", "3", restart_policy=policy)
        found = await api.reach(deployment, "FAILED", within_s=20)
        assert "exited with code 3" in found["error_message"]
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
        await api.reach(deployment, "STOPPED")

"""Files from a real gateway, of another implementation."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.providers.base import ProviderUnavailableError
from orchestration.service.providers.ipfs.files import IpfsFiles
from orchestration.service.providers.ipfs.gateways import GatewaySpec
from tests.support.ipfs_encoder import Blocks, cid_v0
from tests.support.node_packages import helia_modules, helia_node, missing_helia

SCRIPT = Path(__file__).parents[3] / "support" / "helia_gateway.mjs"


@contextmanager
def helia(folder: Path, arguments: list[str]) -> Generator[dict[str, Any]]:
    """A gateway with files; its port and their CIDs."""
    script = folder / SCRIPT.name
    script.write_text(SCRIPT.read_text())
    (folder / "node_modules").symlink_to(helia_modules())
    command = [helia_node(), str(script), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()


@pytest.mark.skipif(bool(missing_helia()), reason=missing_helia() or "it is there")
async def test_files_from_helia(tmp_path: Path) -> None:
    contents = {"small": b'{"opStates": []}', "large": random.Random(1).randbytes(3_000_000)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    names = [(f"v{version}:{tmp_path / name}", name, version) for name in contents for version in (0, 1)]
    with helia(tmp_path, [argument for argument, _, _ in names]) as told:
        reader = IpfsFiles([GatewaySpec(url=f"http://127.0.0.1:{told['port']}", timeout_s=60)], tmp_path / "cache")
        await reader.start()
        for cid, (_, name, version) in zip(told["cids"], names, strict=True):
            assert await reader.read(cid) == contents[name]
            assert cid.startswith("Qm" if version == 0 else "baf")
        with pytest.raises(ProviderUnavailableError, match=r"with 50[024]"):
            await reader.read(cid_v0(bytes(32)))
        await reader.close()
    assert told["cids"][0] == Blocks().file(contents["small"]), "the tests' own encoder makes the same CIDs"

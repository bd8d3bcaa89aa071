"""The committed code is what the protos generate now, and the protos are clean."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*.binpb")


def _generated(root: Path) -> dict[str, bytes]:
    files = [path for pattern in GENERATED for path in (root / "api").rglob(pattern)]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what generation reads, without any generated file, and what it made there."""
    root = tmp_path_factory.mktemp("protos")
    shutil.copytree(ROOT / "api", root / "api", ignore=shutil.ignore_patterns(*GENERATED, "__pycache__"))
    for name in ("buf.yaml", "buf.gen.yaml"):
        shutil.copy(ROOT / name, root)
    subprocess.run([sys.executable, "api/tools/generate.py"], cwd=root, check=True, timeout=60)
    return root


def _buf(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    buf = Path(sysconfig.get_path("scripts"), "buf")
    return subprocess.run([buf, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_generated_code_is_current(regenerated: Path) -> None:
    made, committed = _generated(regenerated), _generated(ROOT)
    assert sorted(made) == sorted(committed)
    assert [name for name, content in made.items() if committed[name] != content] == [], "run: make proto"


def test_buf_lint_finds_nothing(regenerated: Path) -> None:
    result = _buf(regenerated, "lint", "build/api.binpb", "--config", "buf.yaml", "--path", "orchestration")
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_buf_format_changes_nothing() -> None:
    result = _buf(ROOT, "format", "--diff", "--exit-code", "api")
    assert (result.returncode, result.stdout + result.stderr) == (0, "")

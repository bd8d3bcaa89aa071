"""The contract on imports holds, and is broken by each import that it forbids."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE_ROOTS = ("api", "gateway", "service", "store")

FORBIDDEN = [
    ("api/orchestration/v1", "orchestration.gateway"),
    ("api/orchestration/v1", "orchestration.store"),
    ("api/orchestration/v1", "orchestration.service"),
    ("gateway/orchestration/gateway", "orchestration.store"),
    ("gateway/orchestration/gateway", "orchestration.service"),
    ("store/orchestration/store", "orchestration.gateway"),
    ("store/orchestration/store", "orchestration.service"),
]


def _lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sysconfig.get_path("scripts"), "lint-imports")), "--no-cache"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(tree / root) for root in SOURCE_ROOTS)}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source roots, for violations to be added to."""
    copy = tmp_path_factory.mktemp("tree")
    for root in SOURCE_ROOTS:
        shutil.copytree(ROOT / root, copy / root, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def test_imports_run_one_way(tree: Path) -> None:
    result = _lint(tree)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("portion", "imported"), FORBIDDEN)
def test_a_forbidden_import_is_found(tree: Path, portion: str, imported: str) -> None:
    violation = tree / portion / "violation.py"
    violation.write_text(f"import {imported}\n", "utf-8")
    try:
        result = _lint(tree)
    finally:
        violation.unlink()
    importer = ".".join(violation.with_suffix("").parts[-3:])
    assert result.returncode == 1
    assert f"{importer} -> {imported}" in result.stdout

"""What is built holds what it should: the wheel all four portions, the sdist the whole tree."""

from __future__ import annotations

import subprocess
import sysconfig
import tarfile
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "api/buf",
    "api/orchestration",
    "gateway/orchestration",
    "service/orchestration",
    "store/orchestration",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    hatchling = str(Path(sysconfig.get_path("scripts"), "hatchling"))
    command = [hatchling, "build", "--target", "sdist", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return folder


def _one(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_the_wheel_holds_the_source_roots_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(_one(built, "*.whl")) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    roots = [ROOT / package for package in PACKAGES]
    files = [(root, path) for root in roots for path in root.rglob("*") if path.is_file()]
    expected = {path.relative_to(root.parent).as_posix() for root, path in files if "__pycache__" not in path.parts}
    assert packed == expected
    assert {f"orchestration/{portion}/py.typed" for portion in ("v1", "gateway", "service", "store")} <= packed
    assert {"buf/validate/validate_pb2.py", "orchestration/v1/compute_pools.proto"} <= packed


def test_the_wheel_declares_the_command_and_the_providers(built: Path) -> None:
    with zipfile.ZipFile(_one(built, "*.whl")) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
        declared = ConfigParser()
        declared.read_string(wheel.read(name).decode())
    assert declared["console_scripts"]["orchestration"] == "orchestration.service.cli.main:main"
    assert {"kubernetes", "local"} <= set(declared["orchestration.providers"])


def test_the_sdist_is_enough_to_build_and_test_from(built: Path) -> None:
    with tarfile.open(_one(built, "*.tar.gz")) as sdist:
        packed = {name.partition("/")[2] for name in sdist.getnames()}
    top = {"LICENSE", "Makefile", "README.md", "buf.gen.yaml", "buf.yaml", "pyproject.toml", "requirements-dev.lock"}
    tools = {"api/tools/generate.py", "api/tools/protoc_gen.py"}
    this = Path(__file__).relative_to(ROOT).as_posix()
    assert {*top, *tools, this} <= packed

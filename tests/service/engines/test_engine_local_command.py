"""Which program runs llama.cpp on this machine."""

import sys
from pathlib import Path

import pytest

from orchestration.service.engines.local_command import resolve_local_command

COMMAND = ("llama-server", "--model", "/m.gguf")
IN_PROCESS = (sys.executable, "-m", "orchestration.service.engines.llamacpp_server", "--model", "/m.gguf")


@pytest.fixture(autouse=True)
def an_empty_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def with_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package of that name on the path of imports; only its being there is asked for."""
    (tmp_path / "modules" / "xllamacpp").mkdir(parents=True)
    (tmp_path / "modules" / "xllamacpp" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "modules"), *sys.path])


@pytest.mark.usefixtures("with_wheel")
def test_the_wheel_stands_in_for_a_server_that_is_not_installed() -> None:
    assert resolve_local_command(COMMAND, "llamacpp") == IN_PROCESS


@pytest.mark.usefixtures("with_wheel")
def test_an_installed_server_is_preferred(an_empty_path: Path) -> None:
    program = an_empty_path / "llama-server"
    program.touch(mode=0o755)
    assert resolve_local_command(COMMAND, "llamacpp") == COMMAND


@pytest.mark.usefixtures("with_wheel")
@pytest.mark.parametrize(
    ("command", "engine"),
    [(COMMAND, "custom"), (("/opt/llama-server", "-v"), "llamacpp"), (("vllm", "serve"), "vllm"), ((), "llamacpp")],
)
def test_other_commands_stay_as_they_are(command: tuple[str, ...], engine: str) -> None:
    assert resolve_local_command(command, engine) == command


def test_without_the_wheel_the_command_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # how Python itself marks a module as not to be found
    assert resolve_local_command(COMMAND, "llamacpp") == COMMAND

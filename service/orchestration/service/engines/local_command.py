"""Commands as this machine can run them."""

from __future__ import annotations

import importlib.util
import shutil
import sys

_IN_PROCESS_SERVER = "orchestration.service.engines.llamacpp_server"


def resolve_local_command(command: tuple[str, ...], engine: str) -> tuple[str, ...]:
    """The command with ``llama-server`` replaced by the server of the `xllamacpp` wheel where only that is installed.

    Only the bare name is replaced: a path is what the user chose. Any other command comes back as it is.
    """
    if engine != "llamacpp" or command[:1] != ("llama-server",) or shutil.which("llama-server"):
        return command
    if importlib.util.find_spec("xllamacpp") is None:
        return command
    return (sys.executable, "-m", _IN_PROCESS_SERVER, *command[1:])

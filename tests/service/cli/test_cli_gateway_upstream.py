"""`orchestration gateway` and its server: not there yet, gone for a while, behind TLS, with several services."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_reflection.v1alpha import reflection
from typer.testing import CliRunner

from orchestration.gateway import GatewayConfig, OpenApiConfig
from orchestration.service.cli import gateway as command
from orchestration.service.cli.main import app
from tests.support.gateway import eventually
from tests.support.library_service import PROTO, Library, descriptors
from tests.support.library_service import SERVICE as LIBRARY
from tests.support.raw_http import RawAnswer, exchange
from tests.support.standalone_gateway import Authority, standalone
from tests.support.transcoding_service import SERVICE as TESTS
from tests.support.transcoding_service import Handlers, compile_protos, pool


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


@asynccontextmanager
async def library_server(port: int = 0, credentials: grpc.ServerCredentials | None = None) -> AsyncGenerator[int, None]:
    """The library with reflection; gives its port."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    Library().register(server)
    reflection.enable_server_reflection((LIBRARY, reflection.SERVICE_NAME), server, descriptors())
    address = f"127.0.0.1:{port}"
    taken = server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
    await server.start()
    try:
        yield taken
    finally:
        await server.stop(0)


async def get(base: str, path: str) -> RawAnswer:
    return await exchange(base, f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")


async def test_it_waits_for_a_server_that_comes_later() -> None:
    port = free_port()
    async with standalone("--upstream", f"127.0.0.1:{port}") as gateway:
        waiting = await gateway.line("waiting for the upstream")
        assert waiting["upstream"] == f"127.0.0.1:{port}"
        assert waiting["level"] == "warning"
        assert waiting["gives_up_in_s"] <= 30
        async with library_server(port):
            answer = await get(await gateway.base(), "/v1/books/1")
            assert (answer.status, answer.json["title"]) == (200, "Emma")


async def test_it_gives_up_after_a_while() -> None:
    flags = ("--upstream", f"127.0.0.1:{free_port()}", "--upstream-wait", "0.5")
    async with standalone(*flags, ends_with=5) as gateway:
        await gateway.line("waiting for the upstream")
        await asyncio.wait_for(gateway.process.wait(), 30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_at_once_while_it_waits(number: signal.Signals) -> None:
    async with standalone("--upstream", f"127.0.0.1:{free_port()}", "--upstream-wait", "600") as gateway:
        await gateway.line("waiting for the upstream")
        assert await gateway.end(number) == 0


async def test_with_a_descriptor_set_it_waits_for_nobody(tmp_path: Path) -> None:
    file = tmp_path / "library.binpb"
    file.write_bytes(compile_protos(("library.proto", PROTO)).SerializeToString())
    port = free_port()
    async with standalone("--upstream", f"127.0.0.1:{port}", "--descriptor-set", str(file)) as gateway:
        base = await gateway.base()
        assert (await get(base, "/v1/books/1")).status == 503
        async with library_server(port):
            await eventually(lambda: serves(base), within_s=30)


async def serves(base: str) -> bool:
    return (await get(base, "/v1/books/1")).status == 200


async def test_a_server_that_goes_away_and_comes_back() -> None:
    port = free_port()
    async with standalone("--upstream", f"127.0.0.1:{port}") as gateway:
        async with library_server(port):
            base = await gateway.base()
            assert await serves(base)
            assert (await get(base, "/readyz")).json == {"status": "ready"}
        answer = await get(base, "/v1/books/1")
        assert (answer.status, answer.all("Retry-After")) == (503, ["1"])
        assert answer.json["error"]["status"] == "UNAVAILABLE"
        assert str(port) not in answer.body.decode()
        assert (await get(base, "/readyz")).status == 503
        assert (await get(base, "/healthz")).json == {"status": "ok"}
        async with library_server(port):
            await eventually(lambda: serves(base), within_s=30)
            assert (await get(base, "/readyz")).status == 200


@pytest.mark.slow
async def test_tls_both_ways(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "other")
    certificate, key = ours.issue("library.internal")
    client = [str(path) for path in ours.issue("gateway")]
    stranger = [str(path) for path in theirs.issue("stranger")]
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())], ours.file.read_bytes(), require_client_auth=True
    )
    async with library_server(credentials=credentials) as port:
        given = ["--upstream", f"127.0.0.1:{port}", "--ca-file", str(ours.file)]
        shown = [*given, "--client-cert", client[0], "--client-key", client[1]]
        async with standalone(*shown, "--server-name", "library.internal") as gateway:
            assert await serves(await gateway.base())
        refused: Sequence[Sequence[str]] = (
            shown,  # the certificate is for another name
            [*given, "--server-name", "library.internal"],  # nothing to show
            [*given, "--server-name", "library.internal", "--client-cert", stranger[0], "--client-key", stranger[1]],
            [*shown[:2], "--server-name", "library.internal", "--ca-file", str(theirs.file), *shown[4:]],
            given[:2],  # no TLS at all
        )
        for flags in refused:
            assert await exit_code(*flags, "--upstream-wait", "0") == 5


async def test_tls_by_the_address_itself(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    certificate, key = ours.issue("here")
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    async with (
        library_server(credentials=credentials) as port,
        standalone("--upstream", f"127.0.0.1:{port}", "--ca-file", str(ours.file)) as gateway,
    ):
        assert await serves(await gateway.base())


async def exit_code(*flags: str) -> int:
    made = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "orchestration.service.cli.main", "gateway", "--http-listen", "127.0.0.1:0", *flags),
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await asyncio.wait_for(made.communicate(), 60)
    assert b"Traceback" not in err
    assert made.returncode is not None
    return made.returncode


@asynccontextmanager
async def two_services() -> AsyncGenerator[str, None]:
    server = grpc.aio.server()
    Library().register(server)
    Handlers().register(server)
    merged = descriptors()
    for file in compile_protos().file:
        merged.AddSerializedFile(file.SerializeToString())
    reflection.enable_server_reflection((LIBRARY, TESTS, reflection.SERVICE_NAME), server, merged)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def test_several_services() -> None:
    assert pool() is not descriptors()
    async with two_services() as address:
        async with standalone("--upstream", address) as gateway:
            base = await gateway.base()
            assert (await get(base, "/v1/books/1")).status == 200
            assert (await get(base, "/v1/things/1")).status == 200
        async with standalone("--upstream", address, "--service", LIBRARY) as gateway:
            base = await gateway.base()
            assert (await get(base, "/v1/books/1")).status == 200
            assert (await get(base, "/v1/things/1")).status == 404
        assert await exit_code("--upstream", address, "--service", "no.Such") == 1


HEALTHY = """
syntax = "proto3";
package healthy;
import "google/api/annotations.proto";
message Text { string text = 1; }
service Health {
  rpc Check(Text) returns (Text) { option (google.api.http) = { get: "/healthz" }; }
}
"""


async def test_a_services_own_health_goes_before_the_gateways(tmp_path: Path) -> None:
    file = tmp_path / "healthy.binpb"
    file.write_bytes(compile_protos(("healthy.proto", HEALTHY)).SerializeToString())
    flags = ("--upstream", f"127.0.0.1:{free_port()}", "--descriptor-set", str(file))
    async with standalone(*flags) as gateway:
        base = await gateway.base()
        assert (await get(base, "/healthz")).status == 503  # the service's, which is not there
        assert (await get(base, "/readyz")).json["status"] == "not ready"
        assert [line["path"] for line in gateway.lines if "path" in line] == ["/healthz"]
    async with standalone(*flags, "--no-health-routes") as gateway:
        assert (await get(await gateway.base(), "/readyz")).status == 404


async def test_limits_of_its_own() -> None:
    async with library_server() as port:
        flags = ("--upstream", f"127.0.0.1:{port}", "--max-line-bytes", "2000", "--idle-timeout", "1")
        async with standalone(*flags) as gateway:
            base = await gateway.base()
            assert (await get(base, "/v1/books/" + "a" * 3000)).status == 414
            async with aiohttp.ClientSession() as session, session.get(f"{base}/v1/books/1") as answer:
                assert answer.status == 200
            reader, writer = await asyncio.open_connection(*base.removeprefix("http://").split(":"))
            writer.write(b"GET /v1/books/1 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            await asyncio.wait_for(reader.read(), 30)  # to the end: the gateway closes what is idle
            writer.close()


FLAGS: dict[str, tuple[list[str], Any]] = {
    "max_body_bytes": (["--max-body-bytes", "5"], 5),
    "body_timeout_s": (["--body-timeout", "0"], None),
    "write_timeout_s": (["--write-timeout", "0"], None),
    "default_timeout_s": (["--default-timeout", "1.5"], 1.5),
    "max_timeout_s": (["--max-timeout", "9"], 9.0),
    "unknown_query": (["--ignore-query", "utm", "--ignore-query", "x"], frozenset({"utm", "x"})),
    "unknown_json": (["--ignore-unknown-json"], "ignore"),
    "map_query": (["--map-query"], True),
    "lax_bools": (["--lax-bools"], True),
    "keep_plus": (["--keep-plus"], True),
    "system_parameters": (["--no-system-parameters"], False),
    "max_query_parameters": (["--max-query-parameters", "7"], 7),
    "error_format": (["--error-format", "status"], "status"),
    "error_domain": (["--error-domain", "d"], "d"),
    "cors_origins": (["--cors-origin", "https://a", "--cors-origin", "https://b"], ["https://a", "https://b"]),
    "cors_credentials": (["--cors-credentials"], True),
    "cors_expose": (["--cors-expose", "X-A"], ["X-A"]),
    "cors_max_age_s": (["--cors-max-age", "3"], 3),
    "keepalive_s": (["--keepalive", "2"], 2.0),
    "openapi": (
        ["--no-openapi", "--api-title", "Library", "--api-version", "2"],
        OpenApiConfig(enabled=False, title="Library", version="2"),
    ),
    "stream_start_s": (["--stream-start", "0"], 0.0),
    "event_retry_s": (["--event-retry", "5"], 5.0),
    "stream_format": (["--stream-format", "array"], "array"),
    "compress_sockets": (["--compress-sockets"], True),
    "allow_get_body": (["--allow-get-body"], True),
    "trusted_proxies": (["--trusted-proxy", "10.0.0.0/8"], ["10.0.0.0/8"]),
    "forward_headers": (["--forward-header", "X-Tenant"], ["X-Tenant"]),
    "permanent_headers": (["--permanent-headers"], True),
    "response_metadata": (["--response-metadata", ""], []),
    "metadata_status": (["--metadata-status"], True),
    "etags": (["--etags", "quoted"], "quoted"),
    "body_etags": (["--body-etags"], True),
    "page_links": (["--no-page-links"], False),
    "compress_min_bytes": (["--compress-min-bytes", "0"], None),
}


def parse(monkeypatch: pytest.MonkeyPatch, *flags: str) -> GatewayConfig:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(command, "run", seen.append)
    result = CliRunner().invoke(app, ["gateway", "--upstream", "h:1", *flags])
    assert result.exit_code == 0, result.output
    return command.read_config(seen[0])


@pytest.mark.parametrize("field", dataclasses.fields(GatewayConfig), ids=lambda field: field.name)
def test_every_setting_has_an_option(field: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert field.name in FLAGS, "give it an option in cli/gateway.py, and a line here"
    flags, value = FLAGS[field.name]
    changed, default = parse(monkeypatch, *flags), getattr(GatewayConfig(), field.name)
    assert getattr(changed, field.name) == value != default
    assert dataclasses.replace(changed, **{field.name: default}) == GatewayConfig()


def test_without_options_it_has_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse(monkeypatch) == GatewayConfig()
    assert parse(monkeypatch, "--ignore-query", "*").unknown_query == "ignore"

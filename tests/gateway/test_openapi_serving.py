"""The document and its page over HTTP: bytes, caches, prefixes, and what is answered to other methods."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from orchestration.gateway import GatewayConfig, OpenApiConfig
from orchestration.gateway.openapi.document import build_document
from tests.support.transcoding_client import Running, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

_PREFIXES = {"/team/api": "/team/api", "/team/": "/team", "": "/", "//evil.example": "/", "x": "/"}


@pytest_asyncio.fixture(loop_scope="module")
async def proxied() -> AsyncIterator[Running]:
    async with running("in_process", config=GatewayConfig(trusted_proxies=["127.0.0.0/8"])) as service:
        yield service


async def test_document_is_that_of_the_routes(served: Running) -> None:
    answer = await served.get("/openapi.json", Accept_Encoding="identity")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json == served.gateway.document()


async def test_document_is_sent_compressed_and_only_once(served: Running) -> None:
    plain = await served.get("/openapi.json", Accept_Encoding="identity")
    async with served.session.get(
        served.url("/openapi.json"), headers={"Accept-Encoding": "gzip"}, auto_decompress=False
    ) as packed:
        body = await packed.read()
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(body) == plain.body
    assert packed.headers["ETag"] != plain.headers["ETag"]
    for etag in (plain.headers["ETag"], packed.headers["ETag"], "*", f'"other", W/{plain.headers["ETag"]}'):
        again = await served.get("/openapi.json", If_None_Match=etag)
        assert (again.status, again.body) == (304, b"")
    assert (await served.get("/openapi.json", If_None_Match='"other"')).status == 200


@pytest.mark.parametrize("refused", ["gzip;q=0", "identity", "br", ""])
async def test_document_is_plain_for_those_who_do_not_take_gzip(served: Running, refused: str) -> None:
    answer = await served.get("/openapi.json", Accept_Encoding=refused)
    assert "Content-Encoding" not in answer.headers


async def test_document_names_the_prefix_of_a_trusted_proxy(proxied: Running, served: Running) -> None:
    for prefix, url in _PREFIXES.items():
        document = (await proxied.get("/openapi.json", X_Forwarded_Prefix=prefix)).json
        assert document["servers"] == [{"url": url}]
    untrusted = (await served.get("/openapi.json", X_Forwarded_Prefix="/team")).json
    assert untrusted["servers"] == [{"url": "/"}]


async def test_page_is_its_own_and_names_nobody_else(served: Running) -> None:
    page = await served.get("/docs")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; "))
    assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
    text = page.body.decode()
    assert "http" not in text
    assert re.search(r"<script>|<style| style=| on\w+=", text) is None
    for name in re.findall(r'(?:src|href)="(docs/[^"]+)"', text):
        asset = await served.get("/" + name)
        assert asset.status == 200
        assert asset.headers["Cache-Control"] == "public, max-age=3600"
        assert (await served.get("/" + name, If_None_Match=asset.headers["ETag"])).status == 304


async def test_page_with_a_slash_leads_to_the_page(served: Running) -> None:
    async with served.session.get(served.url("/docs/"), allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (308, "../docs")
    assert (await served.get("/docs/")).body == (await served.get("/docs")).body


@pytest.mark.parametrize("path", ["/docs/../openapi.json", "/docs/swagger-editor.js", "/docs/no", "/openapi.json/"])
async def test_other_files_are_not_there(served: Running, path: str) -> None:
    assert (await served.get(path)).status == 404


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/swagger-ui.css"])
async def test_other_methods_are_met_as_everywhere(served: Running, path: str) -> None:
    refused = await served.send("POST", path)
    assert (refused.status, refused.reason, refused.headers["Allow"]) == (
        405,
        "METHOD_NOT_ALLOWED",
        "GET, HEAD, OPTIONS",
    )
    asked = await served.send("OPTIONS", path)
    assert (asked.status, asked.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    head, get = await served.send("HEAD", path), await served.get(path)
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", get.headers["ETag"])


async def test_both_can_be_elsewhere_or_nowhere() -> None:
    elsewhere = OpenApiConfig(path="/api/spec.json", docs_path="/api/show")
    async with running("in_process", config=GatewayConfig(openapi=elsewhere)) as service:
        assert (await service.get("/api/spec.json")).status == 200
        text = (await service.get("/api/show")).body.decode()
        assert 'data-document="../api/spec.json"' in text
        assert (await service.get("/api/show/initializer.js")).status == 200
        assert (await service.get("/openapi.json")).status == 404
    async with running("in_process", config=GatewayConfig(openapi=OpenApiConfig(docs=False))) as service:
        assert [(await service.get(path)).status for path in ("/openapi.json", "/docs")] == [200, 404]
    async with running("in_process", config=GatewayConfig(openapi=OpenApiConfig(enabled=False))) as service:
        assert [(await service.get(path)).status for path in ("/openapi.json", "/docs")] == [404, 404]


async def test_a_path_of_the_service_stays_its_own(caplog: pytest.LogCaptureFixture) -> None:
    config = OpenApiConfig(path="/v1/inspect")
    async with running("in_process", config=GatewayConfig(openapi=config)) as service:
        assert "peer" in json.loads((await service.get("/v1/inspect")).body)
    assert "/v1/inspect is a path of the service" in caplog.text


async def test_a_path_of_the_service_stays_its_own_for_any_method(caplog: pytest.LogCaptureFixture) -> None:
    config = OpenApiConfig(docs_path="/v1/fail")
    async with running("in_process", config=GatewayConfig(openapi=config)) as service:
        assert (await service.send("POST", "/v1/fail", body={"code": 5})).status == 404
        assert (await service.get("/openapi.json")).status == 200
    assert "/v1/fail is a path of the service" in caplog.text


async def test_pages_of_other_origins_read_it_only_where_they_may(served: Running) -> None:
    refused = await served.get("/openapi.json", Origin="https://app.example")
    assert "Access-Control-Allow-Origin" not in refused.headers
    config = GatewayConfig(cors_origins=["https://app.example"])
    async with running("in_process", config=config) as service:
        let = await service.get("/openapi.json", Origin="https://app.example")
        assert let.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert let.headers["Vary"] == "Accept-Encoding, Origin"


async def test_document_is_made_once_for_all_who_ask_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running("in_process") as service:
        made: list[int] = []

        def build(*arguments: Any) -> Any:
            made.append(1)
            return build_document(*arguments)

        monkeypatch.setattr("orchestration.gateway.gateway.build_document", build)
        answers = await asyncio.gather(*(service.get("/openapi.json") for _ in range(5)))
        assert {answer.headers["ETag"] for answer in answers} == {answers[0].headers["ETag"]}
        assert len(made) == 1

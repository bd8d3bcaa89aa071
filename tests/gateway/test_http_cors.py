"""Browsers of other origins: preflights, what they may read, credentials, caches."""

from __future__ import annotations

import pytest

from orchestration.gateway import GatewayConfig
from tests.support.library_service import lending
from tests.support.transcoding_client import running

PAGE = "https://page.example"
OTHER = "https://other.example"


def preflight(
    origin: str = PAGE, method: str = "PATCH", headers: str = "authorization, content-type"
) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


async def test_preflight() -> None:
    async with running("in_process", config=GatewayConfig(cors_origins=[PAGE], cors_max_age_s=5)) as served:
        answer = await served.send("OPTIONS", "/v1/things/x", headers=preflight())
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert "PATCH" in answer.headers["Access-Control-Allow-Methods"].split(", ")
        assert answer.headers["Access-Control-Allow-Headers"] == "authorization, content-type"
        assert answer.headers["Access-Control-Max-Age"] == "5"
        assert answer.headers["Vary"] == "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_preflight_where_every_method_is_served() -> None:
    """It never gets to the service."""
    async with running("in_process", config=GatewayConfig(cors_origins=[PAGE])) as served:
        answer = await served.send("OPTIONS", "/v1/any/x", headers=preflight())
        assert (answer.status, answer.body, answer.headers["Access-Control-Allow-Origin"]) == (204, b"", PAGE)
        assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
        asked = await served.send("OPTIONS", "/v1/any/x")
        assert (asked.status, asked.json["name"]) == (200, "x")


async def test_preflight_of_a_stranger() -> None:
    async with running("in_process", config=GatewayConfig(cors_origins=[PAGE])) as served:
        for origin in (OTHER, "null", PAGE + ".evil.example", "http://page.example", PAGE.upper()):
            answer = await served.send("OPTIONS", "/v1/things/x", headers=preflight(origin))
            assert answer.status == 204
            assert not [name for name in answer.headers if name.startswith("Access-Control-")]
            assert answer.headers["Vary"].startswith("Origin")


async def test_preflight_where_nothing_is() -> None:
    async with running("in_process", config=GatewayConfig(cors_origins=[PAGE])) as served:
        answer = await served.send("OPTIONS", "/nowhere", headers=preflight())
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (404, PAGE)


async def test_answers_say_what_pages_may_read() -> None:
    config = GatewayConfig(cors_origins=[PAGE], cors_expose=["Grpc-Metadata-Shelf"])
    async with lending(config=config) as served:
        answer = await served.get("/v1/books/1", Origin=PAGE)
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"ETag", "Link", "X-Request-Id", "Retry-After", "Grpc-Metadata-Shelf"} <= set(exposed)
        assert answer.headers["Vary"] == "Origin"
        unchanged = await served.send("GET", "/v1/books/1", headers={"Origin": PAGE, "If-None-Match": '"v1"'})
        assert (unchanged.status, unchanged.headers["Access-Control-Allow-Origin"]) == (304, PAGE)


async def test_credentials() -> None:
    async with running("in_process", config=GatewayConfig(cors_origins=[PAGE], cors_credentials=True)) as served:
        for method in ("GET", "OPTIONS"):
            answer = await served.send(method, "/v1/things/x", headers=preflight())
            assert answer.headers["Access-Control-Allow-Credentials"] == "true"
            assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        stranger = await served.get("/v1/things/x", Origin=OTHER)
        assert "Access-Control-Allow-Credentials" not in stranger.headers


async def test_every_origin() -> None:
    async with running("in_process", config=GatewayConfig(cors_origins=["*"])) as served:
        answer = await served.get("/v1/things/x", Origin=OTHER)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Vary" not in answer.headers
        asked = await served.send("OPTIONS", "/v1/things/x", headers=preflight(OTHER))
        assert asked.headers["Access-Control-Allow-Origin"] == "*"
        assert asked.headers["Access-Control-Allow-Headers"] == "authorization, content-type"


async def test_nothing_without_configuration() -> None:
    async with running("in_process") as served:
        for method in ("GET", "OPTIONS"):
            answer = await served.send(method, "/v1/things/x", headers=preflight())
            assert not [name for name in answer.headers if name.startswith(("Access-Control-", "Vary"))]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"cors_origins": ["*"], "cors_credentials": True}, "cors_credentials"),
        ({"cors_max_age_s": -1}, "cors_max_age_s"),
        ({"cors_expose": ["a b"]}, "cors_expose"),
        ({"forward_headers": ["a:b"]}, "forward_headers"),
        ({"compress_min_bytes": 0}, "compress_min_bytes"),
        ({"body_timeout_s": 0}, "body_timeout_s"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        GatewayConfig(**settings)  # type: ignore[arg-type]

"""Section B: which route a path leads to."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.gateway.routing import RouteTree
from orchestration.gateway.template import parse_template
from tests.support.transcoding_client import Running

pytestmark = pytest.mark.asyncio(loop_scope="module")


def tree(*templates: str, method: str = "GET") -> RouteTree[str]:
    made: RouteTree[str] = RouteTree()
    for template in templates:
        assert made.add(method, parse_template(template), template) is None
    return made


def find(made: RouteTree[str], path: str, method: str = "GET") -> str | None:
    segments = path[1:].split("/") if path != "/" else []
    verb = segments[-1].rpartition(":")[2] if segments and ":" in segments[-1] else None
    found = made.find(method, segments, verb)
    return None if found is None else found[0]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("templates", "path", "expected"),
    [
        pytest.param(["/c/*/d/e", "/c/*/d/**", "/c/f/d/e"], "/c/x/d/e", "/c/*/d/e", id="T019-one"),
        pytest.param(["/c/*/d/e", "/c/*/d/**", "/c/f/d/e"], "/c/f/d/e", "/c/f/d/e", id="T019-literal"),
        pytest.param(["/c/*/d/e", "/c/*/d/**", "/c/f/d/e"], "/c/x/d/e/f", "/c/*/d/**", id="T019-many"),
        pytest.param(["/a/b/lit", "/a/*/other"], "/a/b/other", "/a/*/other", id="T020"),
        pytest.param(["/a/{x=**}", "/a/{x=**}/b"], "/a/b", "/a/{x=**}/b", id="T026-suffix-first"),
        pytest.param(["/a/{x=**}", "/a/{x=**}/b"], "/a/b/c", "/a/{x=**}", id="T026-without-suffix"),
        pytest.param(["/a/{x=**}/b"], "/a/b/b/b", "/a/{x=**}/b", id="T026-longest"),
        pytest.param(["/a/**"], "/a", "/a/**", id="T025-zero"),
        pytest.param(["/a/**"], "/a/b//c", None, id="T029-in-many"),
        pytest.param(["/a/*"], "/a/", None, id="T028"),
        pytest.param(["/a/*:v", "/a/*"], "/a/x:v", "/a/*:v", id="T034"),
        pytest.param(["/a/*:v", "/a/*"], "/a/x:w", "/a/*", id="T035"),
        pytest.param(["/a/*/hello"], "/a/other:verb/hello", "/a/*/hello", id="T038"),
        pytest.param(["/"], "/", "/", id="root"),
    ],
)
async def test_most_specific_route_is_found(
    templates: list[str], path: str, expected: str | None, *, reverse: bool
) -> None:
    assert find(tree(*(reversed(templates) if reverse else templates)), path) == expected


async def test_exact_method_goes_before_any_method() -> None:
    """T148."""
    made = tree("/a/{x}", method="*")
    made.add("GET", parse_template("/a/{y}"), "exact")
    assert find(made, "/a/b") == "exact"
    assert find(made, "/a/b", "PURGE") == "/a/{x}"


class CountedReads(list[str]):
    """Segments of a path that count how many of them are read."""

    reads = 0

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int):
            self.reads += 1
            return super().__getitem__(key)
        read = super().__getitem__(slice(*key.indices(len(self))))
        self.reads += len(read)
        return read


async def test_a_literal_after_many_is_looked_for_in_one_pass() -> None:
    made = tree("/a/{x=**}/leaf")
    segments = CountedReads(["a", *["leaf"] * 1000, "x"])
    assert made.find("GET", segments, None) is None
    assert made.methods(segments, None) == set()
    assert segments.reads < 10 * len(segments)
    assert find(made, "/a/b//leaf") is None
    assert find(made, "/a//leaf") is None


@pytest.mark.parametrize(
    ("target", "field", "value"),
    [
        pytest.param("/v1/things/abc", "name", "abc", id="T017"),
        pytest.param("/v1/shelves/1/books/2", "name", "shelves/1/books/2", id="T022"),
        pytest.param("/v1/alt/x/things/y", "name", "y", id="T023"),
        pytest.param("/v1/files", "name", "", id="T025-without-slash"),
        pytest.param("/v1/files/", "name", "", id="T025-with-slash"),
        pytest.param("/v1/files/a/b/c", "name", "a/b/c", id="T025-three"),
        pytest.param("/v1/tree/leaf", "name", "", id="T026-zero"),
        pytest.param("/v1/tree/a/b/leaf", "name", "a/b", id="T026-two"),
        pytest.param("/v1/%74hings/abc", "name", "abc", id="T032"),
        pytest.param("/v1/things/a:b", "name", "a:b", id="T035"),
        pytest.param("/foo/other:verb/hello?name=x", "name", "x", id="T038"),
        pytest.param("/esc/a%2fb/x", "name", "x", id="T016"),
    ],
)
async def test_path_is_matched(served: Running, target: str, field: str, value: str) -> None:
    answer = await served.get(target)
    assert answer.status == 200, answer.body
    assert answer.json[field] == value


@pytest.mark.parametrize(
    ("method", "target"),
    [
        pytest.param("GET", "/v1/things/abc/", id="T028"),
        pytest.param("GET", "/v1//things/abc", id="T029"),
        pytest.param("GET", "//v1/things/abc", id="T029-at-the-start"),
        pytest.param("GET", "/V1/things/abc", id="T031"),
        pytest.param("GET", "/v1/shelves/1/books", id="too-short"),
        pytest.param("GET", "/", id="root"),
        pytest.param("OPTIONS", "/nothing", id="options"),
    ],
)
async def test_unmatched_path_is_not_found(served: Running, method: str, target: str) -> None:
    answer = await served.send(method, target)
    assert answer.status == 404
    assert answer.json["error"]["status"] == "NOT_FOUND"
    assert answer.reason == "ROUTE_NOT_FOUND"


async def test_nested_field_of_the_path_is_filled(served: Running) -> None:
    """T023."""
    assert (await served.get("/v1/alt/x/things/y")).json["sub"]["s"] == "x"


async def test_verb_is_after_the_last_colon(served: Running) -> None:
    """T034."""
    answer = await served.send("POST", "/v1/things/a:b:cancel")
    assert answer.json["name"] == "things/a:b"


async def test_encoded_colon_begins_no_verb(served: Running) -> None:
    """T037."""
    answer = await served.send("POST", "/v1/things/a%3Acancel")
    assert answer.status == 405


async def test_absolute_target_is_routed_by_its_path(served: Running) -> None:
    """T040."""
    import asyncio

    host, port = served.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET http://other.example/v1/things/abc HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n")
    head = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert b" 200 " in head.splitlines()[0]
    assert b'"name":"abc"' in head


async def test_routes_of_the_application_are_left_alone(served: Running) -> None:
    assert (await served.get("/healthz")).body == b"fine"


async def test_unannotated_method_has_no_route(served: Running) -> None:
    assert not [route for route in served.gateway.routes if route[2].endswith(".Unannotated")]
    assert ("POST", "/v1/things", "gatewaytest.TestService.Create", "*", "") in served.gateway.routes

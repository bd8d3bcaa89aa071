"""Entity tags: ETag, If-None-Match and If-Match."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from orchestration.gateway import GatewayConfig
from orchestration.gateway.topfields import get_string, with_string
from tests.support.library_service import Lending, lending, message
from tests.support.raw_http import exchange
from tests.support.transcoding_client import Transport

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(transport: Transport) -> AsyncIterator[Lending]:
    async with lending(transport) as service:
        yield service


@pytest.fixture
def served(shared: Lending) -> Lending:
    shared.library.book = {"title": "Emma", "etag": "v1"}
    shared.library.asked.clear()
    return shared


async def test_etag_field_becomes_a_header(served: Lending) -> None:
    answer = await served.get("/v1/books/1")
    assert answer.headers["ETag"] == '"v1"'
    assert answer.json["etag"] == "v1"


@pytest.mark.parametrize(
    ("etag", "header"),
    [
        ("abc-1.2/x", '"abc-1.2/x"'),
        ("", None),
        ('has "quotes"', None),
        ("has space", None),
        ("line\r\nSet-Cookie: x", None),
        ("nul\0", None),
        ("é", None),
        ("back\\slash", '"back\\slash"'),
    ],
)
async def test_only_what_a_header_can_hold(served: Lending, etag: str, header: str | None) -> None:
    served.library.book["etag"] = etag
    answer = await served.get("/v1/books/1")
    assert answer.status == 200
    assert answer.headers.get("ETag") == header
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "fields",
    [
        {"notes": {"etag": "other"}},
        {"title": '","etag":"other'},
        {"title": "\\"},
        {"text": '"etag":"other"'},
    ],
)
async def test_it_is_the_field_at_the_top(served: Lending, fields: dict[str, Any]) -> None:
    served.library.book.update(fields)
    assert (await served.get("/v1/books/1")).headers["ETag"] == '"v1"'


async def test_indented_answers_have_it_too(served: Lending) -> None:
    answer = await served.get("/v1/books/1?$prettyPrint=true")
    assert b'"etag": "v1"' in answer.body
    assert answer.headers["ETag"] == '"v1"'


async def test_a_key_of_that_name_further_on_is_not_taken_for_it(served: Lending) -> None:
    answer = await served.get("/v1/drafts/1")
    assert answer.headers["ETag"] == '"d1"'
    assert answer.body.rindex(b"of the notes") > answer.body.index(b"d1")


async def test_no_etag_without_a_field(served: Lending) -> None:
    assert "ETag" not in (await served.get("/v1/text?text=x")).headers


@pytest.mark.parametrize("header", ['"v1"', 'W/"v1"', '"v0", "v1"', "*", ' "v1" ', '"v1--gzip"', '"a,b", "v1"'])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_if_none_match(served: Lending, header: str, method: str) -> None:
    answer = await served.send(method, "/v1/books/1", headers={"If-None-Match": header})
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["ETag"] == '"v1"'
    assert answer.headers["X-Request-Id"]
    assert "Content-Type" not in answer.headers


@pytest.mark.parametrize("header", ['"v2"', "v1", '"V1"', ""])
async def test_if_none_match_of_another(served: Lending, header: str) -> None:
    answer = await served.send("GET", "/v1/books/1", headers={"If-None-Match": header})
    assert (answer.status, answer.json["etag"]) == (200, "v1")


async def test_if_match_is_bound(served: Lending) -> None:
    answer = await served.send("DELETE", "/v1/books/1?force=300", headers={"If-Match": '"v1"'})
    assert answer.status == 200
    (asked,) = served.library.asked
    assert (asked.name, asked.etag, asked.force) == ("1", "v1", 300)


@pytest.mark.parametrize("header", ["*", None])
async def test_no_check_is_asked_for(served: Lending, header: str | None) -> None:
    headers = {} if header is None else {"If-Match": header}
    await served.send("DELETE", "/v1/books/1", headers=headers)
    assert [asked.etag for asked in served.library.asked] == [""]


async def test_if_match_and_the_field_agree(served: Lending) -> None:
    answer = await served.send("DELETE", "/v1/books/1?etag=v1", headers={"If-Match": '"v1"'})
    assert answer.status == 200
    assert [asked.etag for asked in served.library.asked] == ["v1"]


async def test_if_match_and_the_field_differ(served: Lending) -> None:
    answer = await served.send("DELETE", "/v1/books/1?etag=v2", headers={"If-Match": '"v1"'})
    assert answer.status == 400
    assert "v1" in answer.violations["etag"]
    assert "v2" in answer.violations["etag"]
    assert not served.library.asked


@pytest.mark.parametrize(
    ("target", "method", "body"),
    [("/v1/books/1", "PATCH", {"title": "x"}), ("/v1/books/1", "PATCH", None)],
)
async def test_if_match_goes_into_the_resource(served: Lending, target: str, method: str, body: Any) -> None:
    answer = await served.send(method, target, body=body, headers={"If-Match": '"v1"'})
    assert answer.status == 200, answer.body
    (asked,) = served.library.asked
    assert (asked.book.name, asked.book.etag, asked.book.title) == ("1", "v1", "x" if body else "")


async def test_if_match_and_the_resource_differ(served: Lending) -> None:
    answer = await served.send("PATCH", "/v1/books/1", body={"etag": "v2"}, headers={"If-Match": '"v1"'})
    assert (answer.status, list(answer.violations)) == (400, ["book.etag"])


@pytest.mark.parametrize("header", ["v1", '"v1", "v2"', "", '"v1'])
async def test_if_match_that_is_no_tag(served: Lending, header: str) -> None:
    answer = await served.send("DELETE", "/v1/books/1", headers={"If-Match": header})
    assert (answer.status, list(answer.violations)) == (400, ["If-Match"])
    assert not served.library.asked


@pytest.mark.parametrize("header", ['""', '"--gzip"'])
async def test_an_empty_tag_never_matches(served: Lending, header: str) -> None:
    """In the request it would be no etag, which asks for no check."""
    answer = await served.send("DELETE", "/v1/books/1", headers={"If-Match": header})
    assert (answer.status, answer.reason) == (412, "PRECONDITION_FAILED")
    assert not served.library.asked


async def test_conditions_on_several_lines_are_one_list(served: Lending) -> None:
    def ask(method: str, *lines: str) -> str:
        return "\r\n".join([f"{method} /v1/books/1 HTTP/1.1", "Host: a", *lines, "", ""])

    unchanged = await exchange(served.base, ask("GET", 'If-None-Match: "v0"', 'If-None-Match: "v1"'))
    assert unchanged.status == 304
    served.library.asked.clear()
    several = await exchange(served.base, ask("DELETE", 'If-Match: "v1"', 'If-Match: "v2"'))
    assert (several.status, several.reason) == (400, "INVALID_HEADER")
    assert not served.library.asked


async def test_if_match_that_is_not_utf_8(served: Lending) -> None:
    answer = await exchange(served.base, b'DELETE /v1/books/1 HTTP/1.1\r\nHost: a\r\nIf-Match: "\xff"\r\n\r\n')
    assert (answer.status, answer.reason) == (400, "INVALID_HEADER")
    assert not served.library.asked


async def test_a_weak_tag_never_matches(served: Lending) -> None:
    answer = await served.send("DELETE", "/v1/books/1", headers={"If-Match": 'W/"v1"'})
    assert (answer.status, answer.reason) == (412, "PRECONDITION_FAILED")
    assert not served.library.asked


@pytest.mark.parametrize(("name", "value"), [("If-Match", '"v1"'), ("If-None-Match", "*")])
async def test_a_condition_that_cannot_be_checked_is_refused(served: Lending, name: str, value: str) -> None:
    answer = await served.send("POST", "/v1/text", body={"text": "x"}, headers={name: value})
    assert (answer.status, list(answer.violations)) == (400, [name])
    assert not served.library.asked


async def test_any_state_is_a_condition_that_always_holds(served: Lending) -> None:
    answer = await served.send("POST", "/v1/text", body={"text": "x"}, headers={"If-Match": "*"})
    assert answer.status == 200


async def test_tags_that_are_quoted_already(transport: Transport) -> None:
    async with lending(transport, GatewayConfig(etags="quoted")) as served:
        for etag, header in (('"v1"', '"v1"'), ('W/"v1"', 'W/"v1"'), ("v1", None)):
            served.library.book["etag"] = etag
            assert (await served.get("/v1/books/1")).headers.get("ETag") == header
        for header in ('"v1"', 'W/"v1"'):
            await served.send("DELETE", "/v1/books/1", headers={"If-Match": header})
            assert served.library.asked[-1].etag == header


async def test_tags_may_stay_out_of_the_headers(transport: Transport) -> None:
    async with lending(transport, GatewayConfig(etags="off")) as served:
        answer = await served.send("GET", "/v1/books/1", headers={"If-None-Match": '"v1"'})
        assert (answer.status, "ETag" in answer.headers) == (200, False)


async def test_weak_tag_of_the_body(transport: Transport) -> None:
    """T194."""
    async with lending(transport, GatewayConfig(body_etags=True)) as served:
        first = await served.get("/v1/text?text=x")
        tag = first.headers["ETag"]
        assert tag.startswith('W/"')
        again = await served.send("GET", "/v1/text?text=x", headers={"If-None-Match": tag})
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
        other = await served.send("GET", "/v1/text?text=y", headers={"If-None-Match": tag})
        assert (other.status, other.json) == (200, {"text": "y"})
        assert "ETag" not in (await served.send("POST", "/v1/text", body={"text": "x"})).headers
        assert (await served.get("/v1/books/1")).headers["ETag"] == '"v1"'


async def test_strings_in_wire_bytes() -> None:
    book = message("Book")(name="n", title="t" * 300, etag="old", notes={"a": 1.5, "b": True})
    request = message("UpdateBookRequest")(book=book)
    wire = request.SerializeToString()
    assert get_string(wire, (1, 4)) == "old"
    assert get_string(wire, (1, 5)) == ""
    changed = message("UpdateBookRequest").FromString(with_string(wire, (1, 4), "new" * 100))
    book.etag = "new" * 100
    assert changed.book == book
    assert get_string(changed.SerializeToString(), (1, 4)) == "new" * 100
    twice = message("UpdateBookRequest")(book=message("Book")(text="x")).SerializeToString() + wire
    assert get_string(twice, (1, 4)) == "old"

"""Updates whose body is the resource that the path names, as AIP-134 has them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.library_service import lending
from tests.support.transcoding_client import Transport


@pytest.mark.parametrize(
    "body", [{"title": "x"}, {"title": "x", "name": "1"}, {"title": "x", "name": ""}, {"title": "x", "name": None}]
)
async def test_path_and_body_give_one_resource(transport: Transport, body: dict[str, Any]) -> None:
    async with lending(transport) as served:
        answer = await served.send("PATCH", "/v1/books/1", body=body)
        if body.get("name") == "":
            assert (answer.status, list(answer.violations)) == (400, ["book.name"])
        else:
            assert (answer.status, answer.json["name"], answer.json["title"]) == (200, "1", "x")


async def test_a_body_that_names_another_is_refused(transport: Transport) -> None:
    """T131."""
    async with lending(transport) as served:
        answer = await served.send("PATCH", "/v1/books/1", body={"name": "2"})
        assert (answer.status, list(answer.violations)) == (400, ["book.name"])
        assert not served.library.asked


@pytest.mark.parametrize("body", [None, {}])
async def test_the_path_alone_is_enough(transport: Transport, body: Any) -> None:
    async with lending(transport) as served:
        assert (await served.send("PATCH", "/v1/books/1", body=body)).json["name"] == "1"


@pytest.mark.parametrize("body", [[], "x", 5, None])
async def test_a_body_that_is_no_object(body: Any) -> None:
    async with lending() as served:
        answer = await served.send("PATCH", "/v1/books/1", body=b"null" if body is None else body)
        assert answer.status in (200, 400) if body is None else answer.status == 400

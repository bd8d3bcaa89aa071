"""The OpenAPI document: valid, the same every time, and true to rules, behaviours and comments of the protos."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from orchestration.gateway import GatewayConfig, OpenApiConfig
from tests.support.openapi_service import library_document
from tests.support.transcoding_client import Running

Document = dict[str, Any]
_NOBODY: dict[str, list[str]] = {}
_BEARER: dict[str, list[str]] = {"bearer": []}


@pytest.fixture
async def library() -> Document:
    return await library_document()


def _schema(document: Document, name: str) -> dict[str, Any]:
    return dict(document["components"]["schemas"][name])


def _field(document: Document, name: str, message: str = "BookInput") -> dict[str, Any]:
    return dict(_schema(document, message)["properties"][name])


def _fits(document: Document, schema: object, value: object) -> bool:
    whole = {"$ref": "#/schema", "schema": schema, "components": document["components"]}
    return bool(jsonschema_rs.Draft202012Validator(whole, validate_formats=True).is_valid(value))


def _operations(document: Document) -> list[tuple[str, str, dict[str, Any]]]:
    methods = ("get", "put", "post", "delete", "patch", "head")
    return [(path, verb, item[verb]) for path, item in document["paths"].items() for verb in methods if verb in item]


async def test_document_of_rules_is_valid(library: Document) -> None:
    assert list(OpenAPIV31SpecValidator(library).iter_errors()) == []


async def test_document_of_every_kind_of_thing_is_valid(served: Running) -> None:
    document = served.gateway.document()
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    bound = {(path, verb) for path, verb, _ in _operations(document)}
    assert {("/v1/things/{name}", "get"), ("/v1/any/{name}", "patch"), ("/v1/heads/{name}", "head")} <= bound
    assert "PURGE" in document["paths"]["/v1/things/{name}"]["x-additionalOperations"]


def patterns(document: Document) -> set[str]:
    """Every pattern within a document."""
    found: list[str] = re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(document))
    return {json.loads(each) for each in found}


async def test_a_text_that_does_not_match_is_refused_at_once(served: Running) -> None:
    """Pages and clients match texts against patterns: one that matches a name in two ways never ends on a long list."""
    found = patterns(served.gateway.document())
    assert any("A-Z" in pattern for pattern in found), "that of a field mask"
    for pattern in found:
        for separator in (",", "."):
            re.search(pattern, separator.join(["name"] * 40) + "!")


async def test_document_is_the_same_every_time() -> None:
    made = [json.dumps(await library_document()) for _ in range(2)]
    assert made[0] == made[1]


async def test_operation_ids_are_unique(served: Running) -> None:
    ids = [each["operationId"] for _, _, each in _operations(served.gateway.document())]
    assert len(ids) == len(set(ids))


async def test_paths_have_a_parameter_for_each_wildcard(library: Document) -> None:
    get = library["paths"]["/v1/shelves/{shelf}/books/{book}"]["get"]
    parameters = [each for each in get["parameters"] if each.get("in") == "path"]
    assert [(each["name"], each["x-google-name"], each["schema"]["pattern"]) for each in parameters] == [
        ("shelf", "name", "^[^/]+$"),
        ("book", "name", "^[^/]+$"),
    ]
    assert get["operationId"] == "Library_GetBook"
    again = library["paths"]["/v1/files/{name}"]["get"]
    assert again["operationId"] == "Library_GetBook_2"
    assert again["parameters"][0]["x-multiple-segments"] is True


async def test_names_of_path_parameters_have_no_dots(served: Running) -> None:
    parameters = served.gateway.document()["paths"]["/v1/alt/{sub_s}/things/{name}"]["get"]["parameters"]
    assert [(each["name"], each.get("x-google-name")) for each in parameters if each.get("in") == "path"] == [
        ("sub_s", "sub.s"),
        ("name", None),
    ]


async def test_answers_hold_numbers_of_enums_only_where_requests_bring_them(library: Document) -> None:
    size, schemas = _schema(library, "Size"), library["components"]["schemas"]
    assert [_fits(library, size, value) for value in ("SMALL", 77, "HUGE")] == [True, True, False]
    color = {"$ref": "#/components/schemas/Binding"}
    assert [_fits(library, color, value) for value in ("SOFT", 77)] == [True, False]
    assert "BindingInput" not in schemas


async def test_query_parameters_have_dots_and_leave_out_what_path_and_body_hold(library: Document) -> None:
    get = library["paths"]["/v1/shelves/{shelf}/books/{book}"]["get"]
    assert [each["name"] for each in get["parameters"] if each.get("in") == "query"] == ["chapter.heading", "sizes"]
    post = library["paths"]["/v1/shelves/{shelf}/books"]["post"]
    assert [each["name"] for each in post["parameters"] if each.get("in") == "query"] == ["request_id"]
    review = library["paths"]["/v1/shelves/{shelf}/books/{book}:review"]["post"]
    body = review["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/ReviewBody"}
    assert list(_schema(library, "ReviewBody")["properties"]) == ["stars"]
    assert list(_schema(library, "ReviewRequest")["properties"]) == ["name", "stars"]


_WHOLE = {
    "title": "Emma",
    "isbn": "1234567890123",
    "pages": 5,
    "price": 1.5,
    "tags": ["old"],
    "id": "3f2b8c1e-5d4a-4f6b-9c7d-2e1f0a9b8c7d",
    "shelf": "a",
    "cover": "aGk=",
}


@pytest.mark.parametrize(
    "change",
    [
        {"pages": "5000"},
        {"size": "SMALL"},
        {"size": 2},
        {"any_size": 77},
        {"price": 99.5},
        {"notes": {"ab": 1}},
        {"mail": ""},
        {"mail": None},
        {"language": "en"},
        {"loan": "604800s"},
        {"loan": "1.000000001s"},
        {"copies": "7"},
        {"copies": 0},
        {"first": {"heading": "x", "next": {"heading": "y"}}},
        {"extra": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"}},
        {"printed_at": "2026-01-02T03:04:05Z"},
        {"weight": "NaN"},
        {"left": "x"},
        {"secret": "x"},
    ],
)
async def test_a_request_that_keeps_the_rules_fits(library: Document, change: dict[str, Any]) -> None:
    assert _fits(library, {"$ref": "#/components/schemas/BookInput"}, {**_WHOLE, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x"},  # only answers hold it
        {"title": "x" * 101},
        {"title": None},
        {"isbn": "123"},
        {"isbn": ""},
        {"pages": 0},
        {"pages": "5001"},
        {"pages": 5.5},
        {"size": "HUGE"},
        {"size": 77},
        {"price": 0},
        {"price": "NaN"},
        {"tags": []},
        {"tags": ["old", "old"]},
        {"tags": ["other"]},
        {"notes": {"a": 1}},
        {"notes": {"ab": 0}},
        {"notes": {f"k{n}": 1 for n in range(5)}},
        {"id": "no uuid"},
        {"mail": "nobody"},
        {"language": "fr"},
        {"loan": "0.5s"},
        {"loan": "604800.5s"},
        {"copies": "-1"},
        {"box": 1},  # beside shelf
        {"left": "x", "right": "y"},
        {"edition": -1},
        {"first": {}},
        {"extra": {}},
        {"cover": ""},
        {"cover": "a" * 25},
        {"weight": 1e39},
        {"no_such_field": 1},
    ],
)
async def test_a_request_that_breaks_a_rule_does_not_fit(library: Document, change: dict[str, Any]) -> None:
    reference = {"$ref": "#/components/schemas/BookInput"}
    assert _fits(library, reference, _WHOLE)
    assert not _fits(library, reference, {**_WHOLE, **change})


async def test_the_members_that_a_rule_asks_for_are_required(library: Document) -> None:
    needed = ["title", "isbn", "pages", "price", "tags", "id", "cover"]
    assert _schema(library, "BookInput")["required"] == needed
    without = {key: value for key, value in _WHOLE.items() if key != "shelf"}
    assert not _fits(library, {"$ref": "#/components/schemas/BookInput"}, without)


async def test_answers_always_hold_what_has_no_presence(library: Document) -> None:
    book = _schema(library, "Book")
    assert {"name", "pages", "tags", "lent"} <= set(book["required"])
    assert not {"loan", "edition", "shelf", "first"} & set(book["required"])
    assert "secret" not in book["properties"]
    assert book["properties"]["name"]["readOnly"] is True
    assert book["properties"]["pages"] == {"type": "string", "format": "int64", "pattern": "^-?(?:0|[1-9][0-9]{0,19})$"}


async def test_behaviours_deprecations_and_rules_in_words(library: Document) -> None:
    assert _field(library, "secret")["writeOnly"] is True
    assert _field(library, "isbn")["x-immutable"] is True
    assert _field(library, "edition")["deprecated"] is True
    assert _field(library, "even")["description"] == "Rule: must have an even length."
    assert library["paths"]["/v1/reviews"]["post"]["deprecated"] is True


async def test_comments_become_descriptions(library: Document) -> None:
    assert _schema(library, "Book")["description"] == "Book is something to read."
    assert _field(library, "name", "Book")["description"] == "Where it stands."
    assert "- `SMALL`: Fits a pocket." in _schema(library, "Size")["description"]
    get = library["paths"]["/v1/shelves/{shelf}/books/{book}"]["get"]
    assert (get["summary"], get["description"]) == ("Gives a book", "Gives a book. It must be there.")
    assert library["tags"][0]["description"].startswith("Library keeps books.")


async def test_without_comments_the_document_has_the_same_members() -> None:
    bare = await library_document(comments=False)
    assert "description" not in _schema(bare, "Book")
    assert list(OpenAPIV31SpecValidator(bare).iter_errors()) == []
    assert bare["paths"].keys() == (await library_document())["paths"].keys()


async def test_examples_fit_their_schemas(library: Document) -> None:
    shown = 0
    for _, _, operation in _operations(library):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert _fits(library, content["schema"], content["example"])
            shown += 1
    assert shown == 3


async def test_streams_tell_their_forms(library: Document) -> None:
    watch = library["paths"]["/v1/books:watch"]["get"]
    assert list(watch["responses"]["200"]["content"]) == ["application/x-ndjson", "text/event-stream"]
    assert watch["x-websocket"]["closeCodes"].keys() == {"1000", "1001", "1011"}
    talk = library["paths"]["/v1/talk"]
    assert "get" not in talk
    assert talk["x-websocket"]["send"] == {"$ref": "#/components/schemas/ReviewRequest"}
    assert "WebSocket `/v1/talk`" in library["tags"][0]["description"]


async def test_errors_are_told_in_the_chosen_form() -> None:
    error: dict[str, Any] = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "no", "details": []}}
    flat: dict[str, Any] = {"code": 3, "message": "no", "details": []}
    envelope = await library_document()
    status = await library_document(GatewayConfig(error_format="status"))
    schema = envelope["components"]["responses"]["Error"]["content"]["application/json"]["schema"]
    assert (_fits(envelope, schema, error), _fits(envelope, schema, flat)) == (True, False)
    assert (_fits(status, schema, error), _fits(status, schema, flat)) == (False, True)
    for _, _, operation in _operations(envelope):
        assert {"400", "429", "default"} <= operation["responses"].keys()


@pytest.mark.parametrize(
    ("authentication", "expected"),
    [("none", None), ("optional", (_NOBODY, _BEARER)), ("required", (_BEARER,))],
)
async def test_security_is_as_it_is_set(authentication: Any, expected: tuple[object, ...] | None) -> None:
    document = await library_document(GatewayConfig(openapi=OpenApiConfig(authentication=authentication)))
    assert document.get("security") == (None if expected is None else list(expected))
    assert ("securitySchemes" in document["components"]) == (expected is not None)


async def test_what_a_service_knows_of_its_fields_is_in_requests() -> None:
    config = OpenApiConfig(
        title="Books",
        version="7",
        text_pattern="^[a-z]*$",
        refinements={"openapitest.Book.title": {"enum": ["emma"], "example": "emma"}},
    )
    document = await library_document(GatewayConfig(openapi=config))
    assert (document["info"]["title"], document["info"]["version"]) == ("Books", "7")
    assert _field(document, "title")["enum"] == ["emma"]
    assert "enum" not in _field(document, "title", "Book")
    assert _field(document, "secret")["pattern"] == "^[a-z]*$"


async def test_unknown_fields_are_told_of_as_they_are_met() -> None:
    open_document = await library_document(GatewayConfig(unknown_json="ignore"))
    assert "additionalProperties" not in _schema(open_document, "BookInput")


@pytest.mark.parametrize("path", ["docs", "/docs/", "/{docs}"])
def test_paths_that_are_none_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="docs_path"):
        OpenApiConfig(docs_path=path)
    with pytest.raises(ValueError, match="path"):
        OpenApiConfig(path=path)

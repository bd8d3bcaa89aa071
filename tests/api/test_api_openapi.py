"""The OpenAPI document of the gateway itself."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.support.gateway import Api
from tests.support.protos import bindings, fields, methods


@pytest.fixture
async def document(gateway: Api) -> dict[str, Any]:
    return dict(await gateway.rest.ok("GET", "/openapi.json"))


async def test_document_is_valid_and_has_every_binding(document: dict[str, Any]) -> None:
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert document["info"]["title"] == "Orchestration Gateway"
    for method in methods():
        for binding in bindings(method):
            item = document["paths"][binding.path]
            found = item["x-websocket"] if method.client_streaming else item[binding.verb.lower()]
            assert method.full_name in (found.get("x-grpc-method"), found.get("grpcMethod"))


async def test_everything_is_described(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Deployment"]["description"].startswith("Deployment is a model kept running")
    silent = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, value in schema.get("properties", {}).items()
        if any(each.name == field for each in fields()) and not value.get("description")
    ]
    assert [each for each in silent if not each.startswith(("Error.", "ErrorInfo.", "BadRequest."))] == []
    assert "buf:lint" not in str(document)
    for item in document["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict) and "operationId" in operation:
                assert operation["summary"]
                assert operation["description"]


async def test_names_that_the_gateway_knows_are_told(document: dict[str, Any]) -> None:
    request = document["components"]["schemas"]["RegisterPoolRequest"]["properties"]
    assert request["provider"]["enum"] == ["kubernetes", "local", "nosana", "ray"]
    assert "vllm" in document["components"]["schemas"]["RegisterModelRequest"]["properties"]["backend"]["enum"]
    assert "Idempotency-Key" in request["request_id"]["description"]


async def test_examples_are_taken(gateway: Api, document: dict[str, Any]) -> None:
    for path in ("/v1/pools", "/v1/models"):
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        await gateway.rest.ok("POST", path, body)

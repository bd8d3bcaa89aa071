"""The service of testdata/compliance.proto, and calls of it as Google's generated REST clients make them."""

from __future__ import annotations

import functools
import urllib.parse
from typing import Any, Final

from google.api_core import rest_helpers
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool

from orchestration.gateway.schema import rules_of
from tests.support.echoing import Echo, make_pool
from tests.support.transcoding_client import Answer, Running
from tests.support.transcoding_service import TESTDATA

_helpers: Final[Any] = rest_helpers  # it has few types
SERVICE: Final = "compliancetest.Repeats"


@functools.cache
def compliance_pool() -> DescriptorPool:
    """Its descriptors."""
    return make_pool(("compliance.proto", (TESTDATA / "compliance.proto").read_text()))


def compliance_message(name: str) -> Any:
    """The class of one of its messages."""
    return message_factory.GetMessageClass(compliance_pool().FindMessageTypeByName(f"compliancetest.{name}"))


@functools.cache
def http_options(method: str) -> list[dict[str, str]]:
    """The rules of a method, as generated clients have them."""
    found = compliance_pool().FindServiceByName(SERVICE).methods_by_name[method]
    return [
        {"method": rule.http_method.lower(), "uri": rule.path, **({"body": rule.body} if rule.body else {})}
        for rule in rules_of(found)
    ]


async def call_as_client(
    service: tuple[Running, Echo], method: str, request: Any, *, numeric: bool = True
) -> tuple[Answer, Any]:
    """Send a request. Gives the answer, and what the service got. Raises ValueError for one that has no URL."""
    running, echo = service
    made, body, query = rest_helpers.transcode_request(http_options(method), request, rest_numeric_enums=numeric)
    pairs = _helpers.flatten_query_params(query, strict=True)
    target = made["uri"] + ("?" + urllib.parse.urlencode(pairs) if pairs else "")
    answer = await running.send(made["method"].upper(), target, body=None if body is None else body.encode())
    assert answer.status == 200, (target, answer.body)
    return answer, echo.last()

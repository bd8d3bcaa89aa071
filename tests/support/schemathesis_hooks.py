"""Hooks of schemathesis for the live gateway: streams end, and refusals that no schema can foresee are let pass.

A request may fit its schema and still be refused for what only the server knows: whether a token is one that it gave,
whether fields of one request agree, what a provider or an engine can do. Each such rule stands here with its reason; a
refusal with any other text is a failure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

import schemathesis
from schemathesis.core.failures import Failure, ServerError
from schemathesis.openapi.checks import RejectedPositiveData

_hook = cast("Callable[[Callable[..., Any]], Callable[..., Any]]", schemathesis.hook)  # pyright: ignore[reportUnknownMemberType]


class Rule(NamedTuple):
    """A refusal to let pass."""

    text: re.Pattern[str]
    """What its message says."""
    reason: str
    """Why the schema cannot say it."""


_TOLD: Final = {
    r"(page_token|cursor|resume_token): .*(token|cursor|other filters)": "tokens are opaque, and bound to a query",
    r"not named in update_mask": "the fields of a request must agree with its mask",
    r"give model_id, or model_name and model_version": "query parameters cannot exclude each other",
    r"tail: cannot be given with cursor": "query parameters cannot exclude each other",
    r"is this machine alone and has none": "depends on the provider that is named",
    r"offers no spot capacity|leaves no capacity at all": "depends on the provider that is named",
    r"is of provider \w+, the node of": "the provider must be that of the pool",
    r"is not the pool of this node": "the pool must be that of the node",
    r"is pool_id itself; leave it out": "two fields must differ",
    r"max_surge and max_unavailable cannot both be 0": "two fields must agree",
    r"engine: is needed, since the model is not registered": "depends on the model that is named",
    r"but engine \w+ serves": "depends on the engine that is named",
    r"artifact_uri: .*give one of": "a choice of URIs, each with a grammar of its own",
    r"request_id: is .*Idempotency-Key": "a header and a field must agree",
    r"more than the \d+ GPUs": "depends on the node",
}
OF_ENGINES: Final = "INVALID_CONFIGURATION"
"""Reason of what engines refuse: each has configuration keys, variables and kinds of models of its own."""
RULES: Final = tuple(Rule(re.compile(text), reason) for text, reason in _TOLD.items())
UNCONFIGURED: Final = re.compile(r"provider \w+ is not configured on this gateway")
"""Answered with 503: providers without credentials are known and cannot be asked."""


def _error(response: Any) -> dict[str, Any]:
    try:
        return dict(json.loads(response.content)["error"])
    except (ValueError, KeyError, TypeError):
        return {}


@_hook
def filter_failure(context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Whether a failure counts."""
    error = _error(response)
    message = str(error.get("message", ""))
    if isinstance(failure, ServerError):
        own = (
            response.status_code == 504 and "X-Request-Timeout" in response.request.headers
        )  # short, and machines slow
        return not (own or (response.status_code == 503 and UNCONFIGURED.search(message)))
    if isinstance(failure, RejectedPositiveData) and response.status_code == 400:
        state = error.get("status") == "FAILED_PRECONDITION"  # the state of what the request names forbids it
        engine = any(detail.get("reason") == OF_ENGINES for detail in error.get("details", []))
        return not (state or engine or any(rule.text.search(message) for rule in RULES))
    return True


@_hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Give streams a deadline, after the second in which they would still answer with a status of their own."""
    if "x-websocket" in case.operation.definition.raw:
        case.headers = {**(case.headers or {}), "X-Request-Timeout": "1.5"}

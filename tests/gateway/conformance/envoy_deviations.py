"""Where Envoy 1.40 answers otherwise than the gateway, and why the gateway does not follow it."""

from __future__ import annotations

from typing import Final

_BOOLS: Final = "takes any spelling of a bool that absl does; the gateway has an option for it"
_LENIENT: Final = "its JSON parser takes what is no JSON: trailing commas, single quotes, bare keys"
_TWICE: Final = "writes the field into the message twice, which the last one of wins, and then fails on its own answer"
_BODY: Final = "merges query and body; http.proto leaves a field to one of them"
_PERCENT: Final = "leaves a malformed escape as it is, so that two spellings mean one thing"
_UTF8: Final = "sends a string that is no UTF-8 on, which no server can parse"
_METHOD: Final = "answers 404 for a path that it knows under another method"

DEVIATIONS: Final[dict[str, str]] = {
    "T026-none": "** in the middle of a template takes no zero segments; http.proto says zero or more",
    "T028": "takes a trailing slash for nothing: two paths of one resource",
    "T032": "compares literals as they are spelt; RFC 3986 has %74 and t mean the same",
    "T046-hex": _PERCENT,
    "T046-cut": _PERCENT,
    "T047": _UTF8,
    "T104": _UTF8,
    "T056": "binds a field within a list of messages; http.proto forbids it",
    "T062": _TWICE,
    "T112": _TWICE,
    "T112-same": _TWICE,
    "path-and-query": _TWICE + ": a query overrides the path",
    "T070-nameless": "drops a parameter without a name",
    "T080-one": _BOOLS,
    "T080-True": _BOOLS,
    "T080-yes": _BOOLS,
    "T080-t": _BOOLS,
    "T088": "refuses the largest float in the form in which protobuf prints it",
    "T094": "binds parts of a Timestamp, which has a form of its own",
    "T100-value": "takes any text for a Value that is a string",
    "T109-comma": _LENIENT,
    "T109-quotes": _LENIENT,
    "T109-bare": _LENIENT,
    "T110": "ignores unknown fields of a body, whatever it is told of those of a query",
    "T115-null": "drops a null of a list",
    "T115-text": "takes a single value for a list of it",
    "T127-object": "takes an empty object for an empty list",
    "T037": _METHOD,
    "T143": _METHOD,
    "T145": "answers HEAD with 404 where GET is served",
    "T064": _BODY,
    "T065": _BODY,
    "T125": "sets the field of the body without a body",
    "T131": "lets the body override the path",
}
"""Id of a request -> the reason."""

UNREGISTERED: Final[dict[str, str]] = {
    "Part": "Envoy refuses to start with a response_body that is no message",
    "Echo": "the same",
}
"""Methods that Envoy's copy of the descriptors leaves without an http rule -> the reason."""

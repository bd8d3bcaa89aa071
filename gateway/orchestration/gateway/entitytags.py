"""Entity tags (RFC 9110, 8.8.3 and 13.1): ``etag`` fields as ETag, If-Match and If-None-Match."""

from __future__ import annotations

import hashlib
import re
from typing import Final

import grpc
from google.protobuf.descriptor import Descriptor
from multidict import CIMultiDictProxy

from orchestration.gateway.errors import RequestError, Violation, invalid
from orchestration.gateway.topfields import ReadString, get_string, string_field, string_reader, with_string

COMPRESSED: Final = "--gzip"
"""Ends the tag of a compressed answer: other bytes need another strong tag. Taken off when the tag comes back."""

_FIELD: Final = "etag"
_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\ud7ff\ue000-\U0010ffff]*)"')
_OPAQUE: Final = re.compile(r"[\x21\x23-\x7e]+")


class AnswerTag:
    """Reads the tag of an answer from its body."""

    def __init__(self, read: ReadString, *, quoted: bool) -> None:
        self._read = read
        self._quoted = quoted

    def of(self, body: bytes) -> str:
        """The ETag header's value; empty where the field is, or where it holds what no header can."""
        value = self._read(body)
        if self._quoted:
            return value if value.isascii() and _TAG.fullmatch(value) else ""
        return f'"{value}"' if _OPAQUE.fullmatch(value) else ""


class RequestTag:
    """Puts If-Match into the request's message."""

    def __init__(self, numbers: tuple[int, ...], name: str, *, quoted: bool) -> None:
        self._numbers = numbers
        self._name = name
        self._quoted = quoted

    def bind(self, wire: bytes, if_match: str) -> bytes:
        """The message with the tag. Raises `RequestError` for a header that is none, or that the field contradicts."""
        if if_match.strip() == "*":
            return wire
        tag = _TAG.fullmatch(if_match.strip())
        if tag is None:
            raise _bad("If-Match", 'expected one entity tag in quotes, such as "abc", or *')
        if tag.group(1) and not self._quoted:
            raise _never_matches(if_match)
        opaque = tag.group(2).removesuffix(COMPRESSED)
        value = f'{tag.group(1) or ""}"{opaque}"' if self._quoted else opaque
        if not value:  # it would ask the service for no check
            raise _never_matches(if_match)
        there = get_string(wire, self._numbers)
        if there and there != value:
            text = f"is {there!r}, and If-Match says {value!r}"
            raise invalid("INVALID_FIELD", [Violation(self._name, text)], {"header": "If-Match"})
        return with_string(wire, self._numbers, value)


def answer_tag(sent: Descriptor | None, mode: str) -> AnswerTag | None:
    """How the tag of an answer is read; None where it has none."""
    field = None if mode == "off" else string_field(sent, _FIELD)
    return None if field is None else AnswerTag(string_reader(field), quoted=mode == "quoted")


def request_tag(message: Descriptor, body: str, mode: str) -> RequestTag | None:
    """Where If-Match goes: the request's own ``etag``, else that of the resource which is its body; None: nowhere."""
    if mode == "off":
        return None
    own = string_field(message, _FIELD)
    if own is not None:
        return RequestTag((own.number,), own.name, quoted=mode == "quoted")
    resource = message.fields_by_name.get(body)
    if resource is None or resource.is_repeated or resource.containing_oneof is not None:
        return None
    inner = string_field(resource.message_type, _FIELD)
    if inner is None:
        return None
    return RequestTag((resource.number, inner.number), f"{resource.name}.{inner.name}", quoted=mode == "quoted")


def weak_tag(body: bytes) -> str:
    """A weak tag made of a body's bytes."""
    return f'W/"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def every(headers: CIMultiDictProxy[str], name: str) -> str:
    """The tags that a condition names, which may stand on several lines."""
    return ", ".join(headers.getall(name, ()))


def unchanged(if_none_match: str, tag: str) -> bool:
    """Whether If-None-Match names the tag, by the weak comparison."""
    if if_none_match.strip() == "*":
        return True
    wanted = tag.removeprefix("W/")
    return any(f'"{each.group(2).removesuffix(COMPRESSED)}"' == wanted for each in _TAG.finditer(if_none_match))


def compressed_tag(tag: str) -> str:
    """The tag of the same answer compressed."""
    return tag if tag.startswith("W/") else f'{tag[:-1]}{COMPRESSED}"'


def refuse_preconditions(headers: CIMultiDictProxy[str], *, bound: bool) -> None:
    """Raises `RequestError` for a condition on a change that this method cannot check.

    Args:
        headers: Of a request that changes something.
        bound: Whether If-Match can be checked.
    """
    if not bound and "If-Match" in headers and every(headers, "If-Match").strip() != "*":
        raise _bad("If-Match", "this method takes no etag")
    if "If-None-Match" in headers:
        raise _bad("If-None-Match", "only GET and HEAD take it")


def _bad(name: str, description: str) -> RequestError:
    return invalid("INVALID_HEADER", [Violation(name, description)], {"header": name})


def _never_matches(if_match: str) -> RequestError:
    return RequestError(
        412,
        grpc.StatusCode.FAILED_PRECONDITION,
        "PRECONDITION_FAILED",
        f"If-Match: {if_match} is a weak or an empty entity tag, which never matches",
        metadata={"header": "If-Match"},
    )

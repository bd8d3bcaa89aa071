"""Request headers: what becomes metadata of the RPC, its deadline, and the caller's addresses."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, cast

from aiohttp import web
from aiohttp.typedefs import RawHeaders
from multidict import CIMultiDictProxy

from orchestration.gateway.config import NOT_FORWARDED, GatewayConfig
from orchestration.gateway.errors import RequestError, Violation, invalid
from orchestration.gateway.negotiation import check_accepted, check_content_type
from orchestration.gateway.unpacking import coding_of
from orchestration.gateway.upstream import Call, Reply

REQUEST_ID: Final = "X-Request-Id"
_FORWARDED_HOST: Final = "X-Forwarded-Host"
_FORWARDED_PROTO: Final = "X-Forwarded-Proto"
_FORWARDED_PREFIX: Final = "X-Forwarded-Prefix"

_FORWARDED: Final = frozenset({"authorization", "traceparent", "tracestate", "idempotency-key"})
_PREFIX: Final = "grpc-metadata-"
_PERMANENT: Final = frozenset(
    {
        *("accept", "accept-charset", "accept-language", "accept-ranges", "cache-control", "content-type", "cookie"),
        *("date", "expect", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-schedule-tag-match"),
        *("if-unmodified-since", "max-forwards", "origin", "pragma", "referer", "user-agent", "via", "warning"),
    }
)
"""Headers that grpc-gateway passes on with a prefix."""
_PERMANENT_PREFIX: Final = "grpcgateway-"
_MOST_NAMES: Final = 1024
_LONGEST_NAME: Final = 128
_MOST_REMEMBERED: Final = 4096
"""Characters of a request's headers that are remembered at most."""
_UNUSUAL: Final = ("Expect", "If-Match", "If-None-Match", "TE", "Upgrade")
_KEY: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_HOST: Final = re.compile(r"([0-9A-Za-z._~-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_PREFIX_PATH: Final = re.compile(r"(/[0-9A-Za-z._~%!$&'()*+,;=:@-]+)*")
_GRPC_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_LONGEST_S: Final = 365 * 86400.0
"""Longest deadline: gRPC counts nanoseconds in 64 bits, and what they cannot hold has passed already."""
_UNIT_S: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


@dataclass(frozen=True, slots=True)
class Head:
    """What the headers of a request said that ask for nothing unusual.

    They ask for no upgrade, no continuation, no trailers and no precondition, and JSON is accepted.
    """

    raw: RawHeaders
    request_id: str
    """The caller's; empty without one."""
    metadata: tuple[tuple[str, str | bytes], ...]
    """Without the request's id."""
    asked_s: float | None
    """How long the caller gives the call."""
    peer: str
    has_json: bool
    """Whether a body, if there is one, is JSON that nothing has compressed."""


class HeaderReader:
    """Makes a `Call` of a request's headers."""

    def __init__(self, config: GatewayConfig) -> None:
        self._default_timeout = config.default_timeout_s
        self._max_timeout = min(config.max_timeout_s or _LONGEST_S, _LONGEST_S)
        self._proxies = [ipaddress.ip_network(network) for network in config.trusted_proxies]
        self._forwarded_names = _FORWARDED | {name.lower() for name in config.forward_headers}
        self._permanent = config.permanent_headers
        self._keys: dict[str, str] = {}

    def recall(self, request: web.Request) -> Head | None:
        """What the headers said, where they are those of the last request on this connection, as they mostly are."""
        head = getattr(request.protocol, "head", None)
        return head if isinstance(head, Head) and head.raw == request.raw_headers else None

    def call(self, head: Head, request_id: str, reply: Reply | None) -> Call:
        """What goes with a unary RPC, by headers that are known."""
        timeout = self._default_timeout if head.asked_s is None else head.asked_s
        return Call((("x-request-id", request_id), *head.metadata), timeout, head.peer, reply)

    def read(
        self,
        request: web.Request,
        request_id: str,
        *,
        streaming: bool,
        token: str | None = None,
        reply: Reply | None = None,
    ) -> Call:
        """What goes with the RPC. Raises `RequestError` naming the header that is wrong.

        Args:
            request: The request.
            request_id: Its id, as `request_id_of` gave it.
            streaming: Streams have no default deadline.
            token: A bearer token that came by other ways than the header.
            reply: Where the service's metadata goes.
        """
        remote, peer = _addresses(request.protocol.peername)
        told = self._metadata(request, remote)
        asked_s = self._asked(request.headers)
        _remember(request, told, asked_s, peer)
        metadata = (("x-request-id", request_id), *told)
        if token is not None:
            bearer = f"Bearer {_printable('Sec-WebSocket-Protocol', token)}"
            metadata = (*metadata, ("authorization", bearer))
        default = None if streaming else self._default_timeout
        return Call(metadata, default if asked_s is None else asked_s, peer, reply)

    def _metadata(self, request: web.Request, remote: str) -> tuple[tuple[str, str | bytes], ...]:
        metadata: list[tuple[str, str | bytes]] = []
        for name, value in request.headers.items():
            key = self._keys.get(name)
            if key is None:
                key = self._learn(name)
            if key:
                metadata.append((key, _metadata_value(name, key, value)))
        self._forwarded(request, remote, metadata)
        return tuple(metadata)

    def caller_url(self, request: web.Request) -> str:
        """The URL without its query as the caller sees it; empty when the host that it names is none."""
        told = request.headers if self._proxies and self._trusts(_addresses(request.protocol.peername)[0]) else None
        host, proto = _host(request, told), _proto(request, told)
        prefix = "" if told is None else _last(told, _FORWARDED_PREFIX, "").rstrip("/")
        if _HOST.fullmatch(host) is None or proto not in ("http", "https") or _PREFIX_PATH.fullmatch(prefix) is None:
            return ""
        return f"{proto}://{host}{prefix}{request.rel_url.raw_path}"

    def _learn(self, name: str) -> str:
        """The metadata key of a header, kept for the next time."""
        key = self._metadata_key(name)
        if len(self._keys) < _MOST_NAMES and len(name) <= _LONGEST_NAME:  # callers choose the names
            self._keys[name] = key
        return key

    def _metadata_key(self, name: str) -> str:
        """The metadata key of a header; empty for one that is not passed on. Raises `RequestError`."""
        lower = name.lower()
        if lower in self._forwarded_names:
            return lower
        if self._permanent and lower in _PERMANENT:
            return _PERMANENT_PREFIX + lower
        if not lower.startswith(_PREFIX):
            return ""
        key = lower[len(_PREFIX) :]
        if _KEY.fullmatch(key) is None:
            raise _bad_header(name, "the rest of the name is no metadata key")
        if key.startswith("grpc-") or key in NOT_FORWARDED:
            raise _bad_header(name, f"metadata {key} is set by the gateway or by gRPC alone")
        return key

    def _forwarded(self, request: web.Request, remote: str, metadata: list[tuple[str, str | bytes]]) -> None:
        """Who called, by which name; what a proxy says counts only if it is trusted."""
        told = request.headers if self._proxies and self._trusts(remote) else None
        came_by = "" if told is None else ", ".join(told.getall("X-Forwarded-For", ()))
        named_by = "Host" if told is None or _FORWARDED_HOST not in told else _FORWARDED_HOST
        by = f"{came_by}, {remote}" if came_by else remote
        metadata.append(("x-forwarded-for", _printable("X-Forwarded-For", by)))
        metadata.append(("x-forwarded-host", _printable(named_by, _host(request, told))))
        metadata.append(("x-forwarded-proto", _printable(_FORWARDED_PROTO, _proto(request, told))))

    def prefix_of(self, request: web.Request) -> str:
        """The path that a trusted proxy has put before ours, empty without one."""
        if not self._proxies or not self._trusts(_addresses(request.protocol.peername)[0]):
            return ""
        return _last(request.headers, _FORWARDED_PREFIX, "")

    def hosts(self, request: web.Request) -> list[str]:
        """The names that the caller may have used: Host, and what a trusted proxy says."""
        told = request.headers if self._proxies and self._trusts(_addresses(request.protocol.peername)[0]) else None
        return [_host(request, None), *([] if told is None else [_host(request, told)])]

    def _trusts(self, remote: str) -> bool:
        try:
            address = ipaddress.ip_address(remote)
        except ValueError:  # a Unix socket has no address
            return False
        return any(address in network for network in self._proxies)

    def _asked(self, headers: CIMultiDictProxy[str]) -> float | None:
        asked = [
            read(headers[name])
            for name, read in (("X-Request-Timeout", _read_seconds), ("Grpc-Timeout", _read_grpc_timeout))
            if name in headers
        ]
        return min(*asked, self._max_timeout) if asked else None


def _remember(
    request: web.Request, metadata: tuple[tuple[str, str | bytes], ...], asked_s: float | None, peer: str
) -> None:
    """Keep what was read for the next request on the connection, where nothing unusual is asked for."""
    headers = request.headers
    if not hasattr(request.protocol, "head") or any(name in headers for name in _UNUSUAL):
        return
    if sum(len(name) + len(value) for name, value in request.raw_headers) > _MOST_REMEMBERED:
        return
    try:
        check_accepted(headers)
        has_json = not coding_of(headers.get("Content-Encoding", ""))
        check_content_type(headers.get("Content-Type", ""))
    except RequestError:  # what the route asks for comes first
        return
    request_id = headers.get(REQUEST_ID, "")
    head = Head(request.raw_headers, request_id, metadata, asked_s, peer, has_json)
    setattr(request.protocol, "head", head)  # noqa: B010  only the protocols of GatewayRunner have it


def request_id_of(request: web.Request) -> str:
    """The request's id: the caller's, else a new one. Raises `RequestError` for one that is no id."""
    given = request.headers.get(REQUEST_ID)
    if given is None:
        return new_request_id()
    if _ID.fullmatch(given) is None:
        raise _bad_header(REQUEST_ID, "expected 1 to 128 printable ASCII characters without spaces")
    return given


_random: Final = random.Random()  # noqa: S311 - an id tells requests apart; nobody is kept out by it


def new_request_id() -> str:
    """128 random bits."""
    return f"{_random.getrandbits(128):032x}"


def _metadata_value(name: str, key: str, value: str) -> str | bytes:
    if key.endswith("-bin"):
        try:
            return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise _bad_header(name, "expected base64") from None
    return _printable(name, value)


def _printable(name: str, value: str) -> str:
    if _VALUE.fullmatch(value) is None:  # gRPC refuses it too, as if it were the gateway's mistake
        raise _bad_header(name, "expected printable ASCII")
    return value


def _read_seconds(text: str) -> float:
    if _SECONDS.fullmatch(text) is None or float(text) <= 0:
        raise _bad_header("X-Request-Timeout", f"expected seconds greater than 0, such as 1.5, got {text!r}")
    return float(text)


def _read_grpc_timeout(text: str) -> float:
    found = _GRPC_TIMEOUT.fullmatch(text)
    if found is None:
        raise _bad_header("Grpc-Timeout", f"expected 1 to 8 digits and one of H M S m u n, such as 250m, got {text!r}")
    return int(found.group(1)) * _UNIT_S[found.group(2)]


@lru_cache(maxsize=4096)
def _addresses(peername: object) -> tuple[str, str]:
    """The caller's address, and the same with its port as gRPC writes it. A Unix socket has neither."""
    if not isinstance(peername, tuple):
        return "", "unix:"
    remote, port = cast("tuple[str, int]", peername[:2])
    return remote, f"ipv6:[{remote}]:{port}" if ":" in remote else f"ipv4:{remote}:{port}"


def _host(request: web.Request, told: CIMultiDictProxy[str] | None) -> str:
    host = request.headers.get("Host", "")
    return host if told is None else _last(told, _FORWARDED_HOST, host)


def _proto(request: web.Request, told: CIMultiDictProxy[str] | None) -> str:
    proto = "https" if request.secure else "http"
    return proto if told is None else _last(told, _FORWARDED_PROTO, proto)


def _last(told: CIMultiDictProxy[str], name: str, default: str) -> str:
    """What the proxy next to this one says, where several have said something, on one line or on lines of their own."""
    lines = told.getall(name, ())
    return lines[-1].rpartition(",")[2].strip() if lines else default


def _bad_header(name: str, description: str) -> RequestError:
    return invalid("INVALID_HEADER", [Violation(name, description)], {"header": name})


def names_host(origin: str, hosts: Sequence[str]) -> bool:
    """Whether an Origin header names one of these hosts, scheme aside."""
    return origin.partition("://")[2].lower() in {host.lower() for host in hosts}

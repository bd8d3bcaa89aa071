"""What can be set on a gateway."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from orchestration.gateway.openapi.config import OpenApiConfig

_POSITIVE: Final = (
    "max_body_bytes",
    "body_timeout_s",
    "write_timeout_s",
    "default_timeout_s",
    "max_timeout_s",
    "max_query_parameters",
    "keepalive_s",
    "event_retry_s",
    "compress_min_bytes",
)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name, as RFC 9110 has it."""

NOT_FORWARDED: Final = frozenset(
    {
        *("connection", "content-length", "content-type", "host", "keep-alive", "proxy-connection", "te", "trailer"),
        *(
            "transfer-encoding",
            "upgrade",
            "user-agent",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id",
        ),
    }
)
"""Headers whose metadata is the gateway's or gRPC's own, beside those of ``grpc-``."""


@dataclass(frozen=True, kw_only=True)
class GatewayConfig:
    """Limits and choices of one gateway. Raises ValueError, naming the field, for a value out of range."""

    max_body_bytes: int = 4 * 1024 * 1024
    """Longest request body and WebSocket frame, in bytes, counted after decompression."""
    body_timeout_s: float | None = 60.0
    """How long the body of a request may take to arrive, in seconds, before it is refused with 408; None: no limit.
    Of a client's stream it is how long the next line may take."""
    write_timeout_s: float | None = 60.0
    """How long a client may take nothing of what is sent to it, in seconds, before its connection is cut off, and with
    it the RPC; None: for ever."""
    default_timeout_s: float | None = None
    """Deadline of a unary call that names none, in seconds; None: the upstream's own. Streams that name none have
    none."""
    max_timeout_s: float | None = None
    """Longest deadline that a call may name, in seconds; a longer one is cut to it. None: a year."""
    unknown_query: Literal["error", "ignore"] | frozenset[str] = "error"
    """What a query parameter that names no field meets: 400, or silence for all, or silence for those named here."""
    unknown_json: Literal["error", "ignore"] = "error"
    """What an unknown JSON field meets: 400 or silence (which then holds for unknown enum names too)."""
    map_query: bool = False
    """Take entries of maps from the query, as ``m[key]=value``. Otherwise maps stand in bodies alone."""
    lax_bools: bool = False
    """Take ``1``, ``t``, ``yes``, ``y``, ``on`` and ``0``, ``f``, ``no``, ``n``, ``off`` for bools of a URL, in lower
    case, upper case and with a capital, beside ``true`` and ``false``."""
    keep_plus: bool = False
    """Leave a plus of the query as it is. Otherwise it is a space, as in HTML forms."""
    system_parameters: bool = True
    """Take the system parameters of Google's clients (``$alt``, ``$prettyPrint``, ``$.xgafv``, and ``alt`` and
    ``prettyPrint`` where the request has no such field). Otherwise they are unknown parameters."""
    max_query_parameters: int = 1000
    """Most parameters that a query may hold."""
    openapi: OpenApiConfig = field(default_factory=OpenApiConfig)
    """The OpenAPI document and the page that shows it."""
    error_format: Literal["envelope", "status"] = "envelope"
    """AIP-193's ``{"error": {...}}``, or a flat google.rpc.Status."""
    error_domain: str = "gateway"
    """Domain of the ErrorInfo in the gateway's own errors."""
    cors_origins: Sequence[str] = ()
    """Origins (``https://host[:port]``) that browsers may call from; ``*`` stands for all."""
    cors_credentials: bool = False
    """Whether pages of these origins may send cookies and client certificates. Not together with the origin ``*``."""
    cors_expose: Sequence[str] = ()
    """Headers of answers that such pages may read, beside those that the gateway itself sets."""
    cors_max_age_s: int = 600
    """How long a browser may keep the answer to a preflight, in seconds."""
    keepalive_s: float = 15.0
    """An idle stream gets a sign of life this often, in seconds."""
    event_retry_s: float = 2.0
    """How long a browser waits before it takes up an event stream again that was cut off, in seconds."""
    stream_format: Literal["lines", "array"] = "lines"
    """What a server's stream is for callers who would take either: a JSON message a line, or one JSON array, as
    Google's own client libraries read it. Those who accept nothing but application/json get the array anyway."""
    compress_sockets: bool = False
    """Agree to permessage-deflate on WebSockets. It costs some 300 kB of memory for each socket."""
    stream_start_s: float = 1.0
    """How long the status line of a stream waits for the first message, in seconds. An error that comes within is
    answered with its own HTTP status; a later one stands in the stream."""
    allow_get_body: bool = False
    """Accept rules that give GET or DELETE a body."""
    trusted_proxies: Sequence[str] = ()
    """Networks in CIDR notation whose X-Forwarded-* headers are believed."""
    forward_headers: Sequence[str] = ()
    """Request headers that become metadata of their own names, beside those that always do. Those that end in
    ``-Bin`` are base64."""
    permanent_headers: bool = False
    """Pass ``Accept``, ``Cookie`` and the like on as ``grpcgateway-accept`` and so on, for services that were written
    for grpc-gateway."""
    response_metadata: Sequence[str] = ("*",)
    """Keys of the service's metadata that callers see, ``*`` standing for all: initial metadata as headers
    ``Grpc-Metadata-KEY``, trailing metadata as HTTP trailers ``Grpc-Trailer-KEY`` for requests with ``TE: trailers``.
    A server's stream over plain HTTP has initial metadata alone, a WebSocket none."""
    metadata_status: bool = False
    """Let a service choose the status of an answer that is OK by its initial or trailing metadata: ``x-http-code``
    (200 to 399), and ``location`` for the Location header."""
    etags: Literal["plain", "quoted", "off"] = "plain"
    """How ``etag`` fields become ETag headers: their values are put in quotes, or are quoted already as AIP-154 has
    it, or stay out of the headers."""
    body_etags: bool = False
    """Give answers to GET without an ``etag`` field a weak ETag made of their bytes."""
    page_links: bool = True
    """Tell the URL of the next page of a list by a Link header, where the method has ``page_token`` and
    ``next_page_token``."""
    compress_min_bytes: int | None = 4096
    """Shortest body that is sent compressed to those who accept gzip, in bytes; None: none is. Streams never are."""

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be greater than 0, not {value}")
        for name in ("stream_start_s", "cors_max_age_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        for network in self.trusted_proxies:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ValueError(f"trusted_proxies: {network!r} is no network such as 10.0.0.0/8: {error}") from error
        self._check_headers()
        if self.cors_credentials and "*" in self.cors_origins:
            raise ValueError("cors_credentials: name the origins; with * any page could act for whoever visits it")

    def _check_headers(self) -> None:
        for name in ("cors_expose", "forward_headers"):
            for header in getattr(self, name):
                if _TOKEN.fullmatch(header) is None:
                    raise ValueError(f"{name}: {header!r} is no name of a header")
        for header in self.forward_headers:
            if header.lower() in NOT_FORWARDED or header.lower().startswith("grpc-"):
                raise ValueError(f"forward_headers: metadata {header.lower()!r} is set by the gateway or by gRPC alone")

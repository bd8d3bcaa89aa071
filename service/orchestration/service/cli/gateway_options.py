"""The options of `orchestration gateway`: where the server is, and one for every setting of the transcoder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from typer import Option


class ErrorFormat(StrEnum):
    """How errors stand in a body."""

    envelope = "envelope"
    status = "status"


class StreamFormats(StrEnum):
    """What a server's stream is for callers who would take anything."""

    lines = "lines"
    array = "array"


class Etags(StrEnum):
    """How ``etag`` fields become headers."""

    plain = "plain"
    quoted = "quoted"
    off = "off"


Upstream = Annotated[str, Option(help="The gRPC server, as host:port.")]
HttpListen = Annotated[str, Option(help="Where REST is served, as host:port.")]
DescriptorSet = Annotated[
    Path | None, Option(help="FileDescriptorSet with all imports; without it the server is asked.")
]
Services = Annotated[list[str] | None, Option("--service", help="Full name of a service to serve; default: all.")]
UpstreamWait = Annotated[float, Option(min=0, help="Seconds to wait at the start for a server that is not there yet.")]
UpstreamKeepalive = Annotated[
    float, Option(min=0, max=86_400, help="Ping an idle connection to the server this often, in seconds; 0: never.")
]
HealthRoutes = Annotated[bool, Option(help="Serve /healthz and /readyz, where no method has these paths.")]
MaxLineBytes = Annotated[int, Option(min=1024, help="Longest request line and header.")]
IdleTimeout = Annotated[float, Option(min=1, help="Seconds that a connection may be without a whole request head.")]
OpenApi = Annotated[bool, Option(help="Serve /openapi.json, and a page that shows it at /docs.")]
ApiTitle = Annotated[str, Option(help="Title of the OpenAPI document; else the services' names.")]
ApiVersion = Annotated[str, Option(help="Version of the API in it.")]
LogLevel = Annotated[str, Option(help="debug, info, warning or error.")]

Tls = Annotated[bool, Option("--tls", help="Reach the server by TLS.")]
CaFile = Annotated[Path | None, Option(help="PEM file of the CAs to believe; turns --tls on.")]
ClientCert = Annotated[Path | None, Option(help="PEM file of a certificate to show the server; turns --tls on.")]
ClientKey = Annotated[Path | None, Option(help="PEM file of that certificate's key.")]
ServerName = Annotated[str | None, Option(help="Name that the server's certificate must have, if not --upstream's.")]

MaxBodyBytes = Annotated[int, Option(min=1, help="Longest request body and WebSocket frame, decompressed.")]
BodyTimeout = Annotated[float, Option(min=0, help="Seconds that a body may take to arrive; 0: no limit.")]
WriteTimeout = Annotated[
    float, Option(min=0, help="Seconds that a client may take nothing of its answer; 0: no limit.")
]
DefaultTimeout = Annotated[float, Option(min=0, help="Deadline of calls that name none, in seconds; 0: none.")]
MaxTimeout = Annotated[float, Option(min=0, help="Longest deadline of a call, in seconds; 0: no limit.")]
IgnoreQuery = Annotated[list[str] | None, Option(help="Unknown query parameter that is no error; * for all.")]
IgnoreUnknownJson = Annotated[bool, Option("--ignore-unknown-json", help="Unknown JSON fields are no error.")]
MapQuery = Annotated[bool, Option("--map-query", help="Take entries of maps from the query, as m[key]=value.")]
LaxBools = Annotated[bool, Option("--lax-bools", help="Take 1, yes, on, ... for bools of a URL.")]
KeepPlus = Annotated[bool, Option("--keep-plus", help="A plus in the query is a plus, no space.")]
SystemParameters = Annotated[bool, Option(help="Take $alt, $prettyPrint and the like.")]
MaxQueryParameters = Annotated[int, Option(min=1, help="Most parameters in a query.")]
ErrorFormats = Annotated[ErrorFormat, Option(help='AIP-193\'s {"error": {...}}, or a flat google.rpc.Status.')]
ErrorDomain = Annotated[str, Option(help="Domain of the ErrorInfo in the gateway's own errors.")]
AllowGetBody = Annotated[bool, Option("--allow-get-body", help="Accept rules that give GET or DELETE a body.")]
TrustedProxy = Annotated[list[str] | None, Option(help="Network whose X-Forwarded-* count.")]

CorsOrigin = Annotated[list[str] | None, Option(help="Origin that browsers may call from; * for all.")]
CorsCredentials = Annotated[bool, Option("--cors-credentials", help="Such pages may send cookies.")]
CorsExpose = Annotated[list[str] | None, Option(help="Header of answers that such pages may read.")]
CorsMaxAge = Annotated[int, Option(min=0, help="Seconds that a browser may keep a preflight's answer.")]

ForwardHeader = Annotated[list[str] | None, Option(help="Request header that becomes metadata of its own name.")]
PermanentHeaders = Annotated[
    bool, Option("--permanent-headers", help="Pass Accept, Cookie, ... on as grpcgateway-accept, ...")
]
ResponseMetadata = Annotated[
    list[str] | None, Option(help="Key of the server's metadata that callers see; default: all; '' for none.")
]
MetadataStatus = Annotated[
    bool, Option("--metadata-status", help="Metadata x-http-code and location choose status and Location.")
]
EtagMode = Annotated[Etags, Option(help="How etag fields become ETag headers.")]
BodyEtags = Annotated[bool, Option("--body-etags", help="Weak ETags for what has no etag field.")]
PageLinks = Annotated[bool, Option(help="Link the next page of lists.")]
CompressMinBytes = Annotated[int, Option(min=0, help="Shortest body that is compressed; 0: none is.")]

Keepalive = Annotated[float, Option(min=0.001, help="Seconds between signs of life of an idle stream.")]
EventRetry = Annotated[float, Option(min=0.001, help="Seconds until a browser takes up a cut event stream again.")]
StreamFormat = Annotated[
    StreamFormats, Option(help="A server's stream for callers who take anything: JSON lines, or one JSON array.")
]
CompressSockets = Annotated[bool, Option("--compress-sockets", help="Agree to permessage-deflate on WebSockets.")]
StreamStart = Annotated[float, Option(min=0, help="Seconds that a stream's status waits for its first message.")]

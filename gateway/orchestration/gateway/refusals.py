"""What is answered to requests that no route takes."""

from __future__ import annotations

import grpc
from aiohttp import web

from orchestration.gateway.errors import RequestError


def no_route(request: web.Request) -> RequestError:
    """The path is none of the API's."""
    path = request.rel_url.raw_path
    return RequestError(
        404,
        grpc.StatusCode.NOT_FOUND,
        "ROUTE_NOT_FOUND",
        f"no method is served at {path}",
        metadata={"method": request.method, "path": path},
    )


def no_tunnel(request: web.Request) -> RequestError:
    """A target that is no path is for a proxy."""
    return RequestError(
        405,
        grpc.StatusCode.UNIMPLEMENTED,
        "METHOD_NOT_ALLOWED",
        f"{request.method} is not served: this is no proxy",
        metadata={"method": request.method, "allow": "OPTIONS"},
        headers={"Allow": "OPTIONS", "Connection": "close"},  # what follows may be for whoever the tunnel leads to
    )


def wrong_method(request: web.Request, allowed: set[str]) -> RequestError:
    """The path has other methods: these."""
    known = ", ".join(sorted(allowed))
    return RequestError(
        405,
        grpc.StatusCode.UNIMPLEMENTED,
        "METHOD_NOT_ALLOWED",
        f"{request.method} is not served at {request.rel_url.raw_path}; there are: {known}",
        metadata={"method": request.method, "path": request.rel_url.raw_path, "allow": known},
        headers={"Allow": known},
    )

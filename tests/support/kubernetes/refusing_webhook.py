"""An admission webhook that denies every Pod of a namespace."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web

from tests.support.kubernetes.objects import Json
from tests.support.kubernetes.real_cluster import RealCluster


@asynccontextmanager
async def refusing_webhook(cluster: RealCluster, code: int, *, away: bool = False) -> AsyncGenerator[None]:
    """``code``: as which it refuses, 0 for none; ``away``: nobody answers where it should be."""

    async def answer(request: web.Request) -> web.Response:
        review: Json = await request.json()
        said = {"message": "not in this house", **({"code": code} if code else {})}
        response = {"uid": review["request"]["uid"], "allowed": False, "status": said}
        return web.json_response({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*cluster.plane.certificate)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    port = runner.addresses[0][1]
    if away:
        await runner.cleanup()
    name = f"{cluster.namespace}.example.com"
    authority = base64.b64encode(cluster.plane.authority.file.read_bytes()).decode()
    hook = {
        "name": name,
        "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": authority},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"test": cluster.namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    await cluster.admin.patch(
        "namespaces", "", cluster.namespace, {"metadata": {"labels": {"test": cluster.namespace}}}
    )
    await cluster.admin.create("validatingwebhookconfigurations", "", {"metadata": {"name": name}, "webhooks": [hook]})
    try:
        yield
    finally:
        await cluster.admin.delete("validatingwebhookconfigurations", "", name)
        await runner.cleanup()

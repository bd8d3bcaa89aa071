"""Where an engine is reached, by the way that the operator chose."""

from __future__ import annotations

from typing import Any

from orchestration.service.providers.kubernetes import names
from orchestration.service.providers.kubernetes.api import path
from orchestration.service.providers.kubernetes.clusters import Found
from orchestration.service.providers.kubernetes.names import Json, listed, part
from orchestration.service.providers.kubernetes.refusals import RefusedError, as_provider_error

_MAX_KNOWN = 100_000


class Endpoints:
    """Tells URLs; what a Service was given is asked once."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._known: dict[str, str] = {}
        """By uid of the Pod."""

    async def of(self, found: Found) -> str:
        """Base URL of the engine; empty while it is not known."""
        pod = found.pod
        port = _container_port(pod)
        if not port:
            return ""
        match self._mode:
            case "service":
                return f"http://{_service_name(pod)}.{found.place.namespace}.svc:{port}"
            case "pod_ip":
                return _url(part(pod, "status").get("podIP"), port)
            case _:
                return await self._by_service(found, port)

    async def _by_service(self, found: Found, port: int) -> str:
        pod = found.pod
        uid = pod["metadata"]["uid"]
        if uid in self._known:
            return self._known[uid]
        try:
            service = await found.api.get(path("services", found.place.namespace, _service_name(pod)))
        except RefusedError as refused:
            raise as_provider_error(refused, f"look at a Service in {found.place}") from refused
        url = self._given(service or {}, pod, port)
        if url:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[uid] = url
        return url

    def _given(self, service: Json, pod: Json, port: int) -> str:
        if self._mode == "node_port":
            ports: list[Json] = listed(part(service, "spec"), "ports")
            return _url(part(pod, "status").get("hostIP"), ports[0].get("nodePort")) if ports else ""
        ingress: list[Json] = listed(part(service, "status", "loadBalancer"), "ingress")
        return _url(ingress[0].get("hostname") or ingress[0].get("ip"), port) if ingress else ""


def _service_name(pod: Json) -> str:
    """The Pod's own name, and of a group's leader what the label says."""
    metadata = pod["metadata"]
    return str(part(metadata, "labels").get(names.INSTANCE) or metadata["name"])


def _container_port(pod: Json) -> int:
    """Where the engine listens; 0 where it does not: its group has no leader any more."""
    containers: list[Json] = listed(pod["spec"], "containers")  # a mesh may have put in some of its own
    return next((int(one["ports"][0]["containerPort"]) for one in containers if one["name"] == names.CONTAINER), 0)


def _url(host: Any, port: Any) -> str:
    if not host or not port:
        return ""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

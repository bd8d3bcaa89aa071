"""Where a cluster is and who we are to it: from a kubeconfig, or from what a Pod is given.

Everything raises ValueError that says what is wrong, and where; no value of a key is told, as it may be a secret.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from orchestration.service.providers.kubernetes.auth import Auth, ExecCommand, ExecToken, FixedToken, TokenFile

IN_CLUSTER = "in-cluster"
"""Name of the context of a gateway that runs in the cluster."""
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_REFUSED = {"auth-provider", "username", "as"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """How to talk to one API server."""

    context: str
    server: str
    namespace: str
    """The context's own."""
    tls: ssl.SSLContext | None
    """None: plain HTTP."""
    auth: Auth
    proxy: str = ""


def in_cluster(folder: Path = SERVICE_ACCOUNT, environ: Mapping[str, str] = os.environ) -> Cluster:
    """The cluster in which this process runs as a Pod."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (folder / "token").is_file():
        raise ValueError(
            f"in_cluster is true, but this is no Pod with a service account: KUBERNETES_SERVICE_HOST or {folder}/token "
            "is not there"
        )
    return Cluster(
        context=IN_CLUSTER,
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        namespace=(folder / "namespace").read_text().strip(),
        tls=_trusting(cafile=str(folder / "ca.crt")),
        auth=TokenFile(folder / "token"),
    )


class KubeConfig:
    """A kubeconfig file."""

    def __init__(self, path: Path) -> None:
        self._path = path.expanduser()
        try:
            yaml = importlib.import_module("yaml")
        except ImportError:
            raise ValueError(
                "reading a kubeconfig needs PyYAML: pip install 'orchestration-gateway[kubernetes]'"
            ) from None
        try:
            loaded: Any = yaml.safe_load(self._path.read_text())
        except OSError as error:
            raise ValueError(f"kubeconfig {path} cannot be read: {error.strerror}") from None
        except yaml.YAMLError:
            raise ValueError(f"kubeconfig {path} is no YAML") from None
        self._config = _mapping(loaded, f"kubeconfig {path}")

    @property
    def current_context(self) -> str:
        """The context that kubectl would use. Raises ValueError when none is set."""
        name = self._config.get("current-context")
        if not name:
            raise ValueError(f"kubeconfig {self._path} sets no current-context; set context")
        return str(name)

    def cluster(self, context: str) -> Cluster:
        """What the context means."""
        found = self._named("context", context)
        cluster = self._named("cluster", str(found.get("cluster", "")))
        nobody: Mapping[str, Any] = {}
        user = self._named("user", str(found["user"])) if found.get("user") else nobody
        server = str(cluster.get("server", ""))
        if not server.startswith(("https://", "http://")):
            raise ValueError(f"kubeconfig {self._path}: the cluster of context {context!r} has no server")
        if cluster.get("tls-server-name"):
            raise ValueError(f"kubeconfig {self._path}: tls-server-name of context {context!r} is not supported")
        return Cluster(
            context=context,
            server=server,
            namespace=str(found.get("namespace") or "default"),
            tls=self._tls(cluster, user) if server.startswith("https://") else None,
            auth=self._auth(context, user),
            proxy=str(cluster.get("proxy-url") or ""),
        )

    def _named(self, kind: str, name: str) -> Mapping[str, Any]:
        entries = cast("list[Any]", self._config.get(f"{kind}s") or [])
        names: list[str] = []
        for entry in entries:
            item = _mapping(entry, f"kubeconfig {self._path}: an entry of {kind}s")
            names.append(str(item.get("name", "")))
            if names[-1] == name:
                return _mapping(item.get(kind) or {}, f"kubeconfig {self._path}: {kind} {name!r}")
        raise ValueError(f"kubeconfig {self._path} has no {kind} {name!r}; there are {', '.join(names) or 'none'}")

    def _auth(self, context: str, user: Mapping[str, Any]) -> Auth:
        refused = sorted(_REFUSED & set(user))
        if refused:
            raise ValueError(
                f"kubeconfig {self._path}: {refused[0]} of context {context!r} is not supported; "
                "token, tokenFile, exec and client certificates are"
            )
        if user.get("tokenFile"):
            return TokenFile(self._beside(str(user["tokenFile"])))
        if user.get("exec"):
            given = _mapping(user["exec"], f"kubeconfig {self._path}: exec of context {context!r}")
            # A relative path is one beside the file; a bare name is looked for in PATH.
            program = str(given.get("command", ""))
            program = str(self._beside(program)) if "/" in program else program
            variables = [_mapping(item, "env") for item in cast("list[Any]", given.get("env") or [])]
            arguments = [str(item) for item in cast("list[Any]", given.get("args") or [])]
            env = {str(item.get("name", "")): str(item.get("value", "")) for item in variables}
            return ExecToken(ExecCommand(str(given.get("apiVersion", "")), (program, *arguments), env))
        return FixedToken(str(user.get("token") or ""))

    def _tls(self, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
        authority = self._bytes(cluster, "certificate-authority")
        context = _trusting(cadata=authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        certificate, key = self._bytes(user, "client-certificate"), self._bytes(user, "client-key")
        if certificate and key:
            # OpenSSL takes files only; this one is readable by nobody else, and gone at once.
            with tempfile.NamedTemporaryFile() as both:
                both.write(certificate + b"\n" + key)
                both.flush()
                context.load_cert_chain(both.name)
        return context

    def _bytes(self, item: Mapping[str, Any], key: str) -> bytes:
        """What ``KEY-data`` holds, or the file that ``KEY`` names."""
        try:
            if item.get(f"{key}-data"):
                return base64.b64decode(str(item[f"{key}-data"]), validate=True)
            return self._beside(str(item[key])).read_bytes() if item.get(key) else b""
        except binascii.Error:
            raise ValueError(f"kubeconfig {self._path}: {key}-data is no base64") from None
        except OSError as error:
            raise ValueError(f"kubeconfig {self._path}: {key} cannot be read: {error.strerror}") from None

    def _beside(self, name: str) -> Path:
        return self._path.parent / name


def _trusting(*, cafile: str | None = None, cadata: str | None = None) -> ssl.SSLContext:
    """Trusts one authority; without one, those of the system.

    Chain, dates and host name are checked, but not the form of the certificates, as Python does from 3.13 on: the
    authorities of many clusters lack extensions that RFC 5280 wants, those of Amazon EKS among them
    (kubernetes-client/python, issue 2394), and every other client of Kubernetes takes them.
    """
    context = ssl.create_default_context(cafile=cafile, cadata=cadata)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no mapping")  # noqa: TRY004  a wrong file is no wrong type of ours
    return cast("Mapping[str, Any]", value)

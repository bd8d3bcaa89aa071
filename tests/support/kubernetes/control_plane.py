"""A control plane of Kubernetes on this machine: etcd, API server, controllers and scheduler, all on loopback.

There is no kubelet: `real_cluster` has nodes that are no machines.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path

from tests.support.standalone_gateway import Authority

BINARIES = "TEST_KUBE_BINARIES"
"""Names a folder with kube-apiserver, kube-controller-manager and kube-scheduler; etcd may be there or in PATH."""
_NAMES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_BY_VERSION = {"--port", "--unsafe-no-fsync"}
"""Options that some versions do not have, and that others need to be given."""
_READY_S = 120.0
_NEVER = "24h"
"""For what goes by heartbeats of nodes: the nodes here have none, and are not ready when a test says so."""


def lacking() -> str:
    """What is not here that a control plane needs; empty when all is."""
    folder = os.environ.get(BINARIES, "")
    if not folder:
        return f"no real control plane: {BINARIES} names no folder with {', '.join(_NAMES)}"
    missing = [name for name in _NAMES if not (Path(folder) / name).is_file()]
    if missing:
        return f"{BINARIES}: {folder} has no {', '.join(missing)}"
    return "" if _etcd(Path(folder)) else "there is no etcd"


class ControlPlane:
    """One, with authentication by tokens, roles (RBAC) and TLS."""

    def __init__(self, folder: Path) -> None:
        self._binaries = Path(os.environ[BINARIES])
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._port, self._etcd_port, self._peer_port = _free_ports(3)
        self.url = f"https://127.0.0.1:{self._port}"
        self.token = uuid.uuid4().hex
        """Of one who may do everything."""
        self.authority = Authority(folder)
        self.certificate = self.authority.issue("here")
        self._accounts = folder / "accounts.key"
        """Signs the tokens of service accounts: not every kind of key may."""
        subprocess.run(["openssl", "genrsa", "-out", str(self._accounts), "2048"], check=True, capture_output=True)

    @property
    def tls(self) -> ssl.SSLContext:
        """What trusts the API server."""
        context = ssl.create_default_context(cafile=str(self.authority.file))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the authority has no extensions
        return context

    def start(self) -> None:
        """All of it; returns when the API server is ready."""
        self._start_etcd()
        self.start_server()
        config = self.kubeconfig(self._folder / "admin.kubeconfig", self.token)
        common = [f"--kubeconfig={config}", "--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=0"]
        self._start(
            "kube-controller-manager",
            *common,
            "--port=0",
            f"--service-account-private-key-file={self._accounts}",
            f"--root-ca-file={self.authority.file}",
            f"--node-monitor-grace-period={_NEVER}",
            f"--node-startup-grace-period={_NEVER}",
        )
        self._start("kube-scheduler", *common, "--port=0")

    def start_server(self) -> None:
        """The API server, at the same address as before when it is started again."""
        certificate, key = self.certificate
        tokens = self._folder / "tokens.csv"
        tokens.write_text(f"{self.token},admin,admin,system:masters\n")
        self._start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--token-auth-file={tokens}",
            f"--client-ca-file={self.authority.file}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._accounts}",
            f"--service-account-signing-key-file={self._accounts}",
            f"--kubelet-certificate-authority={self.authority.file}",
            "--kubelet-preferred-address-types=InternalIP",
        )
        self._wait_for(f"{self.url}/readyz", "kube-apiserver")

    def stop_server(self) -> None:
        """The API server is away; the rest stays, and what runs goes on."""
        self._stop("kube-apiserver")

    def close(self) -> None:
        """End everything, the API server before what it needs."""
        for name in reversed(list(self._running)):
            self._stop(name)

    def kubeconfig(self, file: Path, token: str, namespace: str = "default") -> Path:
        """A kubeconfig with one context, ``here``."""
        file.write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\n"
            f"contexts:\n- {{name: here, context: {{cluster: c, user: u, namespace: {namespace}}}}}\n"
            f"clusters:\n- name: c\n  cluster: {{server: '{self.url}', certificate-authority: {self.authority.file}}}\n"
            f"users:\n- {{name: u, user: {{token: {token}}}}}\n"
        )
        return file

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._peer_port))
        self._start(
            "etcd",
            f"--data-dir={self._folder / 'etcd'}",
            "--name=here",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=here={peer}",
            "--unsafe-no-fsync",
        )
        self._wait_for(f"{client}/health", "etcd")

    def _start(self, name: str, *options: str) -> None:
        program = _etcd(self._binaries) if name == "etcd" else str(self._binaries / name)
        given = [option for option in options if _knows(program, option.partition("=")[0])]
        with (self._folder / f"{name}.log").open("ab") as output:
            self._running[name] = subprocess.Popen([program, *given], stdout=output, stderr=subprocess.STDOUT)

    def _stop(self, name: str) -> None:
        process = self._running.pop(name)
        process.kill()  # asked to end, it would wait for those who watch
        process.wait()

    def _wait_for(self, url: str, name: str) -> None:
        tls = self.tls if url.startswith("https") else None
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.token}"})
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            if self._running[name].poll() is not None:
                break
            with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                urllib.request.urlopen(request, timeout=5, context=tls).close()
                return
            time.sleep(0.1)
        raise AssertionError(f"{name} does not serve: {(self._folder / f'{name}.log').read_text()[-3000:]}")


def _etcd(folder: Path) -> str:
    """The program; empty when there is none."""
    for place in (str(folder), *os.environ.get("PATH", "").split(os.pathsep)):
        if (Path(place) / "etcd").is_file():
            return str(Path(place) / "etcd")
    return ""


@cache
def _knows(program: str, option: str) -> bool:
    """Whether it has the option, of those that some versions have."""
    if option not in _BY_VERSION:
        return True
    done = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=60, check=False)
    return f"{option} " in done.stdout + done.stderr


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()

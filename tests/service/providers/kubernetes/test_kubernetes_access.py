"""How the gateway gets into a cluster, and what it says when it cannot."""

from __future__ import annotations

import base64
import json
import ssl
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.providers.base import Provider, ProviderContext, ProviderUnavailableError
from orchestration.service.providers.kubernetes import create
from orchestration.service.providers.kubernetes.kubeconfig import in_cluster
from orchestration.service.providers.unconfigured import UnconfiguredProvider
from tests.support.kubernetes.harness import cluster, kubeconfig
from tests.support.kubernetes.server import TOKEN, FakeKube
from tests.support.standalone_gateway import Authority

yaml = pytest.importorskip("yaml", reason="kubeconfigs are read by the extra `kubernetes`")


def provider(folder: Path, **settings: str) -> Provider:
    return create(ProviderContext(name="kubernetes", data_dir=folder, owner="us", settings=settings))


def write(file: Path, server: str, user: dict[str, Any], **cluster: object) -> Path:
    """A kubeconfig with one user."""
    file.write_text(
        yaml.safe_dump(
            {
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "llm"}}],
                "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
                "users": [{"name": "u", "user": user}],
            }
        )
    )
    return file


async def reaches(folder: Path, config: Path) -> None:
    """The provider gets in."""
    made = provider(folder, kubeconfig=str(config))
    await made.start()
    try:
        assert await made.list_resources()
    finally:
        await made.close()


def test_the_entry_point_is_in_the_project() -> None:
    import tomllib

    text = (Path(__file__).parents[4] / "pyproject.toml").read_text()
    named = tomllib.loads(text)["project"]["entry-points"]["orchestration.providers"]["kubernetes"]
    module, _, attribute = named.partition(":")
    assert getattr(sys.modules[module], attribute) is create
    for entry in entry_points(group="orchestration.providers", name="kubernetes"):
        assert entry.value == named


def test_without_a_cluster_it_says_what_would_name_one(tmp_path: Path) -> None:
    made = provider(tmp_path, endpoint="pod_ip")
    assert isinstance(made, UnconfiguredProvider)
    assert "provider kubernetes is not configured on this gateway: set kubeconfig" in made.reason


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kubconfig": "x"}, "unknown setting 'kubconfig'"),
        ({"kubeconfig": "x", "in_cluster": "true"}, "one of kubeconfig"),
        ({"in_cluster": "false"}, "one of kubeconfig"),
        ({"in_cluster": "yes"}, "in_cluster is 'yes'; it can be true, false"),
        ({"in_cluster": "true", "context": "c"}, "in_cluster has none"),
        ({"in_cluster": "true"}, "this is no Pod"),
        ({"credential.team.context": "x"}, "credential 'team' needs one of"),
        ({"credential.team.endpoint": "x"}, "unknown setting"),
        ({"kubeconfig": "x", "endpoint": "ingress"}, "endpoint is 'ingress'"),
        ({"kubeconfig": "x", "cpu": "many"}, "cpu is 'many'"),
        ({"kubeconfig": "x", "cpu": "0"}, "cpu is '0'"),
        ({"kubeconfig": "x", "tolerations": "a:Sometimes"}, "tolerations holds 'a:Sometimes'"),
        ({"kubeconfig": "x", "node_selector": "a"}, "node_selector holds 'a'"),
        ({"kubeconfig": "x", "price_per_gpu_hour.H100": "dear"}, "price_per_gpu_hour.H100 is 'dear'"),
        ({"kubeconfig": "x", "price_per_hour": "-1"}, "price_per_hour is -1"),
        ({"kubeconfig": "x", "autoscaled.H100": "8"}, "autoscaling is not true"),
        ({"kubeconfig": "x", "start_timeout_s": "0"}, "start_timeout_s is 0"),
        ({"kubeconfig": "/nowhere/at/all"}, "/nowhere/at/all cannot be read"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, settings: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        provider(tmp_path, **settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"current-context": None}, "sets no current-context"),
        ({"current-context": "there"}, "no context 'there'; there are here"),
        ({"clusters": []}, "no cluster 'c'; there are none"),
        ({"users": []}, "no user 'u'"),
        ({"users": [{"name": "u", "user": {"username": "x", "password": "hidden"}}]}, "username of context"),
        ({"users": [{"name": "u", "user": {"auth-provider": {"name": "gcp"}}}]}, "auth-provider of context"),
        ({"users": [{"name": "u", "user": {"exec": {"apiVersion": "v9", "command": "x"}}}]}, "exec apiVersion"),
        ({"clusters": [{"name": "c", "cluster": {"server": "here"}}]}, "has no server"),
        (
            {"clusters": [{"name": "c", "cluster": {"server": "https://x", "certificate-authority": "no.pem"}}]},
            "certificate-authority cannot be read",
        ),
        (
            {"clusters": [{"name": "c", "cluster": {"server": "https://x", "certificate-authority-data": "%"}}]},
            "certificate-authority-data is no base64",
        ),
    ],
)
def test_a_wrong_kubeconfig_says_where(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    file = write(tmp_path / "config", "http://127.0.0.1:1", {"token": "t"})
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))
    with pytest.raises(ValueError, match=words) as caught:
        provider(tmp_path, kubeconfig=str(file))
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a list", "a: [", ""])
def test_what_is_no_kubeconfig_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"no mapping|no YAML"):
        provider(tmp_path, kubeconfig=str(file))


async def test_a_token_that_is_refused_is_told_and_not_shown(tmp_path: Path) -> None:
    async with cluster() as kube:
        made = provider(tmp_path, kubeconfig=str(kubeconfig(tmp_path / "config", {"here": kube}, "wrong-token")))
        await made.start()
        with pytest.raises(ProviderUnavailableError, match="Unauthorized") as caught:
            await made.describe("one")
        await made.close()
        assert caught.value.reason == "UNAUTHORIZED"
        assert "wrong-token" not in caught.value.message


async def test_a_token_in_a_file_may_be_renewed(tmp_path: Path) -> None:
    async with cluster() as kube:
        (tmp_path / "token").write_text("of yesterday")
        made = provider(tmp_path, kubeconfig=str(write(tmp_path / "config", kube.url, {"tokenFile": "token"})))
        await made.start()
        with pytest.raises(ProviderUnavailableError, match="Unauthorized"):
            await made.list_resources()
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        assert await made.list_resources()
        await made.close()


async def test_a_command_gives_the_token_once_until_it_ends(tmp_path: Path) -> None:
    script = tmp_path / "login"
    answer = {"status": {"token": TOKEN, "expirationTimestamp": "2099-01-01T00:00:00Z"}}
    script.write_text(
        f"#!{sys.executable} -IS\nimport os, sys, json\n"
        "assert json.loads(os.environ['KUBERNETES_EXEC_INFO'])['spec'] == {'interactive': False}\n"
        f"assert (sys.argv[1], os.environ['WHO']) == ('--now', 'us')\n"
        f"open({str(tmp_path / 'runs')!r}, 'a').write('x')\n"
        f"print({json.dumps(answer)!r})\n"
    )
    script.chmod(0o700)
    called = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "./login",
        "args": ["--now"],
        "env": [{"name": "WHO", "value": "us"}],
    }
    async with cluster() as kube:
        config = write(tmp_path / "config", kube.url, {"exec": called})
        await reaches(tmp_path, config)
    assert (tmp_path / "runs").read_text() == "x"


@pytest.mark.parametrize(
    ("script", "words"),
    [("exit 4", "exited with code 4"), ("echo secret-of-mine", "printed no ExecCredential")],
)
async def test_a_command_that_gives_no_token_is_named(tmp_path: Path, script: str, words: str) -> None:
    called = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "sh", "args": ["-c", script]}
    made = provider(tmp_path, kubeconfig=str(write(tmp_path / "config", "http://127.0.0.1:1", {"exec": called})))
    await made.start()
    with pytest.raises(ProviderUnavailableError, match=words) as caught:
        await made.list_resources()
    await made.close()
    assert caught.value.reason == "NO_CREDENTIALS"
    assert "secret-of-mine" not in caught.value.message


async def test_tls_with_an_authority_and_a_client_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.file))
    tls.load_cert_chain(*authority.issue("here"))
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the authority has no extensions, as those of many clusters
    certificate, key = authority.issue("gateway")
    kube = FakeKube("llm", tls=tls)
    kube.add_node("cpu-1")
    await kube.start()
    user = {"token": TOKEN, "client-certificate-data": _base64(certificate), "client-key": key.name}
    config = write(tmp_path / "config", kube.url, user, **{"certificate-authority": authority.file.name})
    await reaches(tmp_path, config)
    stranger = write(tmp_path / "other", kube.url, user)
    made = provider(tmp_path, kubeconfig=str(stranger))
    await made.start()
    with pytest.raises(ProviderUnavailableError, match=r"(?i)certificate"):
        await made.list_resources()
    await made.close()
    await kube.close()


def test_a_pod_finds_its_cluster(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "ca.crt").write_bytes(authority.file.read_bytes())
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("orchestration\n")
    found = in_cluster(tmp_path, {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"})
    assert (found.server, found.namespace, found.context) == ("https://[fd00::1]:443", "orchestration", "in-cluster")


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()

"""What API servers say of objects that they do not take, at its real length and for every kind of object."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestration.service.providers.base import (
    CapacityError,
    InstanceConflictError,
    InstanceRejectedError,
    ProviderError,
    ProviderUnavailableError,
)
from orchestration.service.providers.http_client import HttpStatusError
from orchestration.service.providers.kubernetes.refusals import RefusedError, refusal
from tests.support.kubernetes.harness import KubernetesHarness, group_spec, kubernetes_harness
from tests.support.kubernetes.objects import StatusError
from tests.support.kubernetes.server import on_the_way, refuse
from tests.support.provider_processes import engine_command

_NO = 'pods "og-one-3f2a9c1e7b5d4086" is forbidden: '
_GROUPS = 'leaderworkersets.leaderworkerset.x-k8s.io "og-wide" is forbidden: '
_POLICY = "ValidatingAdmissionPolicy 'limits' with binding 'here' denied request: no limits"
_RATIO = "nvidia.com/gpu max limit to request ratio per Container is 1, but provided ratio is 2.000000"
_RESTRICTED = (
    f'{_NO}violates PodSecurity "restricted:latest": unrestricted capabilities (container "engine" must set '
    'securityContext.capabilities.drop=["ALL"]; container "engine" must not include "SYS_PTRACE" in '
    'securityContext.capabilities.add), restricted volume types (volumes "cache", "weights" use restricted volume '
    'types "hostPath"), runAsNonRoot != true (pod or container "engine" must set securityContext.runAsNonRoot=true), '
    'seccompProfile (pod or container "engine" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
    '"Localhost")'
)
_DENIED = 'admission webhook "validation.gatekeeper.sh" denied the request: ' + "\n".join(
    f"[{rule}] container <engine> has no resource limits; all must be limited, and come from an allowed registry"
    for rule in ("must-have-limits", "allowed-repos", "no-root", "psp-capabilities")
)
_COUNTED = "".join(
    f", {of}: limits.cpu={cpu},limits.memory={cpu}Gi,limits.ephemeral-storage={cpu}Gi,requests.cpu={cpu},"
    f"requests.memory={cpu}Gi,requests.nvidia.com/gpu=8"
    for of, cpu in (("requested", 16), ("used", 120), ("limited", 128))
)
_FULL = f"{_NO}exceeded quota: compute-resources-of-the-team-that-runs-language-models-in-this-cluster{_COUNTED}"
_MANAGED = "Apply failed with 3 conflicts: " + "\n".join(
    f'conflicts with "kubectl-edit-{number}" using v1:\n- .spec.ports[name="http"].targetPort\n- .spec.selector\n'
    "- .metadata.labels.app.kubernetes.io/managed-by\n- .metadata.labels.app.kubernetes.io/part-of"
    for number in range(3)
)
_INVALID = 'Pod "og-one" is invalid: ' + ", ".join(
    f'spec.containers[0].env[{number}].name: Invalid value: "{number}=a": must not begin with a digit, nor contain "="'
    for number in range(5)
)


async def _refused(harness: KubernetesHarness, name: str = "one") -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await harness.provider.create(harness.serving(name))
    assert not harness.kube.faults
    return caught.value


@pytest.mark.parametrize(
    ("call", "code", "said", "kind", "reason"),
    [
        ("POST pods", 403, _RESTRICTED, InstanceRejectedError, "REJECTED_BY_CLUSTER"),
        ("POST pods", 403, _DENIED, InstanceRejectedError, "REJECTED_BY_CLUSTER"),
        ("POST pods", 403, _FULL, CapacityError, "QUOTA_EXCEEDED"),
        ("POST pods", 422, _INVALID, InstanceRejectedError, "REJECTED_BY_CLUSTER"),
        ("PATCH services", 409, _MANAGED, InstanceConflictError, "OBJECT_MANAGED_ELSEWHERE"),
    ],
)
async def test_a_refusal_of_many_words_is_understood_and_told_whole(
    harness: KubernetesHarness, call: str, code: int, said: str, kind: type[ProviderError], reason: str
) -> None:
    method, resource = call.split()
    assert 500 < len(said) <= 1000
    words = {403: "Forbidden", 409: "Conflict", 422: "Invalid"}
    harness.kube.faults.append(refuse(method, resource, code, words[code], said))
    error = await _refused(harness)
    assert (type(error), error.reason) == (kind, reason)
    assert error.message.endswith(f": {said}")


@pytest.mark.parametrize("length", [1_001, 60_000, 200_000])
async def test_what_is_told_of_a_refusal_is_bounded(harness: KubernetesHarness, length: int) -> None:
    said = _DENIED.ljust(length, "\u00e9")
    harness.kube.faults.append(refuse("POST", "pods", 403, "Forbidden", said))
    error = await _refused(harness)
    assert (type(error), error.reason) == (InstanceRejectedError, "REJECTED_BY_CLUSTER")
    assert error.message.endswith(f": {said[:997]}...")


async def test_the_end_of_a_long_refusal_counts_as_well(harness: KubernetesHarness) -> None:
    ends = f"{_NO}unable to create new content in namespace {'n' * 1000} because it is being terminated"
    harness.kube.faults.append(refuse("POST", "pods", 403, "Forbidden", ends))
    assert (await _refused(harness)).reason == "NAMESPACE_NOT_FOUND"
    cannot = f'pods is forbidden: User "{"u" * 1000}" cannot create resource "pods" in API group ""'
    harness.kube.faults.append(refuse("POST", "pods", 403, "Forbidden", cannot))
    error = await _refused(harness)
    assert error.reason == "FORBIDDEN"
    assert error.message.endswith("uuu...; see the role in docs/kubernetes")
    assert len(error.message) < 1100


@pytest.mark.parametrize("code", [401, 403, 422])
@pytest.mark.parametrize("before", [_NO, ""])
async def test_what_a_policy_denies_is_rejected(harness: KubernetesHarness, code: int, before: str) -> None:
    words = {401: "Unauthorized", 403: "Forbidden", 422: "Invalid"}
    refusals = 2 if code == 401 else 1  # the token may just have run out: it is asked with a new one
    harness.kube.faults += [refuse("POST", "pods", code, words[code], before + _POLICY)] * refusals
    error = await _refused(harness)
    assert (type(error), error.reason) == (InstanceRejectedError, "REJECTED_BY_CLUSTER")
    assert "no limits" in error.message


@pytest.mark.parametrize("said", [_RATIO, f"[maximum cpu usage per Pod is 1, but limit is 2, {_RATIO}]"])
async def test_a_ratio_of_gpus_that_a_limit_range_does_not_allow_is_rejected(
    harness: KubernetesHarness, said: str
) -> None:
    harness.kube.faults.append(refuse("POST", "pods", 403, "Forbidden", _NO + said))
    error = await _refused(harness)
    assert (type(error), error.reason) == (InstanceRejectedError, "REJECTED_BY_CLUSTER")


@pytest.mark.parametrize(
    ("said", "kind", "reason"),
    [
        ("exceeded quota: few, requested: count/leaderworkersets=1", CapacityError, "QUOTA_EXCEEDED"),
        ("status unknown for quota: few, resources: count/leaderworkersets", CapacityError, "QUOTA_EXCEEDED"),
        ("failed quota: few: must specify limits.cpu", InstanceRejectedError, "REJECTED_BY_CLUSTER"),
        (_POLICY, InstanceRejectedError, "REJECTED_BY_CLUSTER"),
    ],
)
async def test_a_group_is_refused_as_a_pod_is(
    tmp_path: Path, said: str, kind: type[ProviderError], reason: str
) -> None:
    async with kubernetes_harness(tmp_path, {"price_per_gpu_hour.L4": "0.5"}) as harness:
        harness.kube.serves_groups = True
        for number in (1, 2):
            harness.kube.add_node(f"gpu-{number}", gpus=2, gpu_type="NVIDIA-L4")
        harness.kube.faults.append(refuse("POST", "leaderworkersets", 403, "Forbidden", _GROUPS + said))
        with pytest.raises(ProviderError) as caught:
            await harness.provider.create(group_spec(harness, "wide", engine_command(), engine_command()))
        assert not harness.kube.faults
    assert (type(caught.value), caught.value.reason) == (kind, reason)


@pytest.mark.parametrize("text", ["[" * 60_000, '{"kind": "Status", "details": ' + "[" * 60_000])
async def test_an_answer_of_great_depth_is_tried_again(harness: KubernetesHarness, text: str) -> None:
    harness.kube.faults.append(on_the_way("POST", "pods", 400 if text.startswith("[") else 403, text))
    assert isinstance(await _refused(harness), ProviderUnavailableError)


def test_a_message_that_is_cut_off_tells_what_is_there() -> None:
    said = 'a"\\\u00e9\U0001f642\0'
    body = json.dumps(StatusError(403, "Forbidden", said).body)
    told: list[str] = []
    for end in range(body.index("Failure"), len(body) + 1):
        refused = refusal(HttpStatusError("nothing", 403, body[:end]))
        assert isinstance(refused, RefusedError)
        told += [] if refused.message in told else [refused.message]
    # Half of a pair, and NUL, which no database takes, are replaced.
    half = 'a"\\\u00e9\ufffd'
    assert told == ["nothing", "a", 'a"', 'a"\\', 'a"\\\u00e9', half, said[:-1], f"{said[:-1]}\ufffd"]

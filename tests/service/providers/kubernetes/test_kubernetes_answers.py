"""Answers that are not the API server's word, or not of the shape that it gives."""

from __future__ import annotations

import json

import pytest

from orchestration.service.providers.base import InstanceRejectedError, ProviderUnavailableError
from orchestration.service.providers.http_client import HttpStatusError
from orchestration.service.providers.kubernetes import names
from orchestration.service.providers.kubernetes.refusals import RefusedError, refusal
from tests.support.kubernetes.harness import KubernetesHarness
from tests.support.kubernetes.objects import StatusError
from tests.support.kubernetes.server import on_the_way
from tests.support.provider_processes import ended

OTHERS_NOT_FOUND = [
    "no healthy upstream",
    "",
    "404 page not found",
    '{"kind": "Error", "reason": "NotFound"}',
    '["NotFound"]',
    json.dumps(StatusError(404, "Expired", "not this one").body),
    json.dumps(StatusError(404, "NotFound", "of another", ("pods", "another")).body),
    json.dumps(StatusError(404, "NotFound", "of another kind", ("clusters", "here")).body),
]


@pytest.mark.parametrize("text", OTHERS_NOT_FOUND)
async def test_a_404_that_is_not_the_api_servers_word_is_no_missing_pod(harness: KubernetesHarness, text: str) -> None:
    await harness.provider.create(harness.serving("one"))
    harness.kube.granted = {("get", "pods"), ("delete", "pods"), ("list", "pods")}  # not to watch them
    await harness.restart()
    for _ in range(2):
        harness.kube.faults.append(on_the_way("GET", "pods/og-", 404, text))
        with pytest.raises(ProviderUnavailableError):
            await harness.provider.describe("one")
    assert not harness.kube.faults
    assert await harness.provider.describe("one") is not None
    harness.kube.faults.append(on_the_way("DELETE", "pods", 404, text))
    with pytest.raises(ProviderUnavailableError):
        await harness.provider.delete("one")
    assert harness.running("one") == 1


@pytest.mark.parametrize(
    ("code", "text"),
    [
        *((404, text) for text in OTHERS_NOT_FOUND),
        (302, json.dumps(StatusError(302, "Found", "elsewhere").body)),
        (408, json.dumps(StatusError(408, "Timeout", "late").body)),
        (400, "<html>Bad Request</html>"),
        (409, "conflict"),
        (422, "no"),
        (403, "quota exceeded"),
    ],
)
async def test_a_creation_that_something_else_answers_may_be_tried_again(
    harness: KubernetesHarness, code: int, text: str
) -> None:
    for method, resource in (("POST", "pods"), ("PATCH", "secrets")):
        harness.kube.faults.append(on_the_way(method, resource, code, text))
        with pytest.raises(ProviderUnavailableError):
            await harness.provider.create(harness.serving("one"))
    assert not harness.kube.faults
    await harness.provider.create(harness.serving("one"))
    assert len(list(harness.kube.objects.find("pods"))) == 1


async def test_only_a_namespace_that_is_named_as_missing_refuses_a_creation(harness: KubernetesHarness) -> None:
    missing = StatusError(404, "NotFound", 'namespaces "llm" not found', ("namespaces", "llm"))
    harness.kube.faults.append(on_the_way("POST", "pods", 404, json.dumps(missing.body)))
    with pytest.raises(InstanceRejectedError) as caught:
        await harness.provider.create(harness.serving("one"))
    assert caught.value.reason == "NAMESPACE_NOT_FOUND"


def test_a_status_that_is_cut_off_is_understood() -> None:
    name = "n" * 250
    body = json.dumps(StatusError(404, "NotFound", f'nodes "{name}" not found', ("nodes", name)).body)
    refused = refusal(HttpStatusError("404", 404, body[:500]))
    assert isinstance(refused, RefusedError)
    assert refused.misses("nodes", name)
    assert refused.message == f'nodes "{name}" not found'
    assert isinstance(refusal(HttpStatusError("404", 404, body[1:500])), ProviderUnavailableError)


NO_OBJECT = ["", "null", "[]", "{}", "<html>Welcome</html>", '{"metadata": {"name": 1}}', '{"metadata": {"name": "b"}}']
NO_LIST = [
    "",
    "null",
    "[]",
    "<html>Welcome</html>",
    '{"items": []}',
    '{"metadata": {}}',
    '{"kind": "Status", "metadata": {}, "items": []}',
    '{"kind": "PodList", "metadata": {}, "items": {"a": 1}}',
    '{"kind": "PodList", "metadata": {}, "items": "none"}',
    '{"kind": "PodList", "metadata": {}, "items": [1]}',
    '{"kind": "PodList", "metadata": {}, "items": [{"spec": {}}]}',
    '{"kind": "PodList", "metadata": {"continue": 7}, "items": []}',
]


@pytest.mark.parametrize("text", NO_OBJECT)
async def test_a_success_that_is_no_object_is_no_missing_pod(harness: KubernetesHarness, text: str) -> None:
    harness.kube.faults.append(on_the_way("GET", "pods/og-", 200, text))
    with pytest.raises(ProviderUnavailableError) as caught:
        await harness.provider.describe("one")
    assert caught.value.reason == "BAD_ANSWER"
    harness.kube.faults.append(on_the_way("POST", "pods", 200, text.replace('"b"', "null")))
    with pytest.raises(ProviderUnavailableError) as caught:
        await harness.provider.create(harness.serving("one"))
    harness.kube.faults.append(on_the_way("PATCH", "secrets", 200, text))
    with pytest.raises(ProviderUnavailableError) as caught:
        await harness.provider.create(harness.serving("one"))
    assert caught.value.reason == "BAD_ANSWER"


@pytest.mark.parametrize("text", NO_LIST)
async def test_a_success_that_is_no_list_does_not_mean_that_there_is_nothing(
    harness: KubernetesHarness, text: str
) -> None:
    for resource in ("pods", "nodes"):
        harness.kube.faults += [on_the_way("GET", resource, 200, text)] * 20  # the watch lists as well
        with pytest.raises(ProviderUnavailableError) as caught:
            _ = await (harness.provider.list_owned() if resource == "pods" else harness.provider.list_resources())
        assert caught.value.reason == "BAD_ANSWER"
        harness.kube.faults.clear()


async def test_an_empty_list_is_an_empty_list(harness: KubernetesHarness) -> None:
    harness.kube.faults += [
        on_the_way("GET", "pods", 200, '{"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": null}')
    ] * 20
    assert list(await harness.provider.list_owned()) == []


async def test_a_list_without_end_is_given_up(harness: KubernetesHarness) -> None:
    page = '{"kind": "NodeList", "metadata": {"continue": "again"}, "items": []}'
    harness.kube.faults += [on_the_way("GET", "nodes", 200, page)] * 2000
    with pytest.raises(ProviderUnavailableError, match="does not end"):
        await harness.provider.list_resources()


async def test_what_others_write_into_a_pod_keeps_none_from_being_read(harness: KubernetesHarness) -> None:
    await harness.provider.create(harness.exiting("one", 1))
    await harness.provider.create(harness.serving("two"))
    await ended(harness.provider, "one")
    pod = harness.kube.pod("one")
    assert pod is not None
    pod["metadata"]["annotations"] |= {names.PRICE: "dear", names.CREATED_AT: "nan"}
    pod["status"] |= {"reason": "Evicted\ud800", "message": "for\0want \udfff"}
    found = {item.name: item for item in await harness.provider.list_owned()}
    assert set(found) == {"one", "two"}
    assert (found["one"].price_per_hour, found["one"].message) == (0.0, "for\ufffdwant \ufffd")
    assert found["one"].reason == "EVICTED\ufffd"

"""Answers that are not Ray's word, not of the shape that it gives, or hold what others wrote."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.providers.base import ProviderError, ProviderUnavailableError
from orchestration.service.providers.ray.joblog import JobLog
from tests.support.ray.harness import RayHarness, ray_harness, running

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[RayHarness]:
    async with ray_harness(tmp_path) as harness:
        yield harness


@pytest.mark.parametrize(
    "text",
    ["", "Not Found", "<html>The page that you asked for does not exist</html>", "Job other does not exist"],
)
async def test_a_404_that_is_not_rays_word_is_no_missing_job(harness: RayHarness, text: str) -> None:
    await harness.provider.create(harness.serving("stays"))
    await running(harness, "stays")
    harness.cluster.fail("*", "/api/jobs/stays", "404", times=1000, body=text)
    for call in (
        harness.provider.describe("stays"),
        harness.provider.delete("stays"),
        harness.provider.create(harness.serving("stays")),
        anext(aiter(harness.provider.logs("stays"))),
    ):
        with pytest.raises(ProviderUnavailableError):
            await call
    harness.cluster.faults.clear()
    harness.cluster.fail("GET", "/api/jobs/stays/logs", "404", body=text)
    with pytest.raises(ProviderUnavailableError):
        _ = [record async for record in harness.provider.logs("stays")]
    assert harness.running("stays") == 1


@pytest.mark.parametrize("status", ["400", "413", "422"])
async def test_a_page_that_refuses_a_job_is_not_rays_refusal(harness: RayHarness, status: str) -> None:
    harness.cluster.fail("POST", "/api/jobs/", status, body="<html><title>Bad Request</title></html>")
    with pytest.raises(ProviderUnavailableError):
        await harness.provider.create(harness.serving("once"))
    await harness.provider.create(harness.serving("once"))
    assert harness.running("once") == 1


NO_JOBS = ["", "null", "{}", '{"jobs": []}', '"none"', "[1]", '[{"type": "SUBMISSION"}]', "<html>"]


@pytest.mark.parametrize("text", NO_JOBS)
async def test_a_success_of_another_shape_tells_nothing(harness: RayHarness, text: str) -> None:
    calls: list[tuple[str, Any]] = [
        ("/api/jobs/", harness.provider.list_owned),
        ("/api/jobs/one", lambda: harness.provider.describe("one")),
        ("/api/v0/nodes", harness.provider.list_resources),
        ("/nodes", harness.provider.list_resources),
    ]
    for path, call in calls:
        harness.cluster.fail("GET", path, "200", times=1000, body=text)
        with pytest.raises(ProviderError) as caught:
            await call()
        assert (caught.value.reason, caught.value.retryable) == ("BAD_ANSWER", True)
        harness.cluster.faults.clear()


async def test_what_is_taken_must_be_told(harness: RayHarness) -> None:
    harness.cluster.fail("GET", "/nodes", "200", body='{"data": {"summary": []}}')
    with pytest.raises(ProviderError) as caught:
        await harness.provider.list_resources()
    assert caught.value.reason == "BAD_ANSWER"


FOREIGN = [
    {"metadata": {"note": "\ud800\0", "\udfff": ""}, "message": "\udcff"},
    {"metadata": {"orchestration.cpus": "nan", "orchestration.gpus": "inf", "orchestration.memory": "-1e300"}},
]


@pytest.mark.parametrize("fields", FOREIGN)
async def test_what_others_write_into_their_jobs_keeps_no_job_from_being_read(
    harness: RayHarness, fields: dict[str, Any]
) -> None:
    await harness.provider.create(harness.serving("ours"))
    await running(harness, "ours")
    node = harness.cluster.jobs["ours"].node
    assert node is not None
    ours = harness.cluster.jobs["ours"].view()
    foreign: dict[str, Any] = {
        **ours,
        "submission_id": "foreign",
        "driver_node_id": node.node_id,
        "metadata": {},
        **fields,
    }
    harness.cluster.fail("GET", "/api/jobs/", "200", times=1, body=json.dumps([foreign, ours]))
    assert [item.name for item in await harness.provider.list_owned()] == ["ours"]
    harness.cluster.fail("GET", "/api/jobs/", "200", times=1, body=json.dumps([foreign, ours]))
    assert sorted(item.available_count for item in await harness.provider.list_resources()) == [7, 8]


@pytest.mark.parametrize(
    "fields", [{"start_time": 10**400}, {"start_time": -1}, {"start_time": 10**15}, {"driver_exit_code": 2**40}]
)
async def test_numbers_that_cannot_be_are_refused(harness: RayHarness, fields: dict[str, Any]) -> None:
    await harness.provider.create(harness.serving("ours"))
    view = harness.cluster.jobs["ours"].view() | {"status": "FAILED"} | fields
    harness.cluster.fail("GET", "/api/jobs/ours", "200", body=json.dumps(view))
    with pytest.raises(ProviderError) as caught:
        await harness.provider.describe("ours")
    assert caught.value.reason == "BAD_ANSWER"


async def test_a_message_can_be_stored_and_sent(harness: RayHarness) -> None:
    await harness.provider.create(harness.serving("ours"))
    told = {"status": "FAILED", "message": "it\0broke \ud800", "error_type": "\ud800", "driver_exit_code": None}
    view = harness.cluster.jobs["ours"].view() | told | {"driver_agent_http_address": "http://[no-address"}
    harness.cluster.fail("GET", "/api/jobs/ours", "200", body=json.dumps(view))
    found = await harness.provider.describe("ours")
    assert found is not None
    assert (found.reason, found.message, found.hostname) == ("\ufffd", "it\ufffdbroke \ufffd", "")


def test_lines_can_be_stored_and_sent() -> None:
    reader = JobLog(TOKEN, 5.0)
    records = reader.feed(f'{TOKEN} 8.000 o "\\ud800 and \\u0000"\n\udc80 of Ray\0\n')
    assert [item.message for item in records] == ["\ufffd and \0", "\ufffd of Ray\0"]


@pytest.mark.parametrize("time", ["9" * 400, "9" * 12, "\u0661"])
def test_a_time_that_cannot_be_makes_a_line_like_any_other(time: str) -> None:
    reader = JobLog(TOKEN, 5.0)
    text = f'{TOKEN} {time}.000 o "x"'
    records = [*reader.feed(f'{TOKEN} 8.000 o "x"\n{text}\n')]
    assert [(item.time, item.message) for item in records] == [(8.0, "x"), (8.0, text)]


@pytest.mark.parametrize(
    "told",
    [
        "10.0.0.7 0 -",
        "10.0.0.7 65536 -",
        f"10.0.0.7 {'9' * 5000} -",
        "10.0.0.7 \u0661\u0662 -",
        "a.b/c@d 80 -",
        " 80 -",
    ],
)
def test_a_place_where_nothing_can_listen_is_none(told: str) -> None:
    reader = JobLog(TOKEN, 0.0)
    reader.feed(f"{TOKEN} 1.000 p {told}\n")
    assert reader.report is None


def test_a_cursor_of_too_many_digits_is_refused() -> None:
    with pytest.raises(ProviderError) as caught:
        JobLog(TOKEN, 0.0, f"{TOKEN}:{'9' * 5000}")
    assert caught.value.reason == "INVALID_CURSOR"

"""Logs by time stamp: each line once, whatever the stamps are and whoever starts anew."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestration.service.providers.base import LogRecord, ProviderUnavailableError
from tests.support.kubernetes.harness import KubernetesHarness, kubernetes_harness
from tests.support.kubernetes.server import FakeKube, refuse
from tests.support.provider_conformance import read
from tests.support.provider_processes import ended, engine_command

SECOND = 1_000_000_000
BASE = 1_800_000_000 * SECOND


async def _ended(harness: KubernetesHarness, *lines: tuple[int, str]) -> list[LogRecord]:
    """An instance that has printed these lines at these nanoseconds; gives them as they are read."""
    await harness.provider.create(harness.exiting("one", lines=0))
    await ended(harness.provider, "one")
    _set_log(harness.kube, *lines)
    return await read(harness.provider, "one")


def _set_log(kube: FakeKube, *lines: tuple[int, str]) -> None:
    pod = kube.pod("one")
    assert pod is not None
    kube.kubelet.logs[pod["metadata"]["uid"]] = [(BASE + at, text) for at, text in lines]


def _texts(records: list[LogRecord]) -> list[str]:
    return [record.message for record in records]


@pytest.mark.parametrize(
    "lines",
    [
        [(0, "a"), (0, "b"), (0, "c"), (1, "d")],
        [(5, "a"), (3, "b"), (5, "c"), (SECOND, "d"), (SECOND - 1, "e")],
        [(SECOND // 10, "a"), (SECOND // 2, ""), (3 * SECOND, "with spaces  "), (9 * SECOND, "z")],
    ],
)
async def test_every_line_is_read_once_after_every_cursor(
    harness: KubernetesHarness, lines: list[tuple[int, str]]
) -> None:
    records = await _ended(harness, *lines)
    assert _texts(records) == [text for _, text in lines]
    for index, record in enumerate(records):
        assert _texts(await read(harness.provider, "one", record.cursor)) == _texts(records[index + 1 :])


async def test_the_time_of_a_line_is_its_stamp(harness: KubernetesHarness) -> None:
    (record,) = await _ended(harness, (SECOND // 2, "a"))
    assert record.time == pytest.approx(1_800_000_000.5)
    assert record.stream == "stdout"


async def test_lines_that_are_gone_from_the_log_do_not_hold_up_the_rest(harness: KubernetesHarness) -> None:
    first, *_ = await _ended(harness, (0, "a"), (1, "b"))
    _set_log(harness.kube, (2, "c"), (5 * SECOND, "d"))
    assert _texts(await read(harness.provider, "one", first.cursor)) == ["c", "d"]


async def test_a_gateway_that_starts_anew_reads_on(harness: KubernetesHarness) -> None:
    first, *_ = await _ended(harness, (0, "a"), (0, "b"))
    await harness.restart()
    assert _texts(await read(harness.provider, "one", first.cursor)) == ["b"]


@pytest.mark.parametrize("cursor", ["nonsense", "1.x", "-"])
async def test_a_cursor_of_no_sense_begins_at_the_beginning(harness: KubernetesHarness, cursor: str) -> None:
    await _ended(harness, (0, "a"))
    assert _texts(await read(harness.provider, "one", cursor)) == ["a"]


async def test_a_follower_waits_for_the_container(harness: KubernetesHarness) -> None:
    harness.kube.faults.append(refuse("PATCH", "secrets", 500, "InternalError", "its container waits for its Secret"))
    spec = harness.exiting("one", lines=2)
    with pytest.raises(ProviderUnavailableError):
        await harness.provider.create(spec)
    following = asyncio.create_task(read(harness.provider, "one", follow=True))
    assert await read(harness.provider, "one") == []
    await harness.provider.create(spec)
    async with asyncio.timeout(30):
        assert _texts(await following) == ["line 0", "line 1"]


async def test_a_follower_waits_for_a_node(tmp_path: Path) -> None:
    async with kubernetes_harness(tmp_path, {"autoscaling": "true"}) as harness:
        await harness.provider.create(
            harness.spec("one", engine_command("--exit-code", "3", "--lines", "2"), gpu_count=1)
        )
        following = asyncio.create_task(read(harness.provider, "one", follow=True))
        assert await read(harness.provider, "one") == []
        harness.kube.add_node("gpu-1", gpus=1)
        async with asyncio.timeout(30):
            assert _texts(await following) == ["line 0", "line 1"]

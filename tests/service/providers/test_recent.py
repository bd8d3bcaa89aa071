"""One answer for all who ask at once."""

from __future__ import annotations

import asyncio

import pytest

from orchestration.service.providers.base import ProviderUnavailableError
from orchestration.service.providers.recent import Recent
from tests.support.stores import FakeClock


class Asked:
    """Answers with how often it was asked."""

    def __init__(self) -> None:
        self.times = 0
        self.error = ""
        self.defect: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()

    async def __call__(self) -> int:
        """The number, once it is let."""
        self.times += 1
        number = self.times
        await self.answers.wait()
        if self.defect:
            raise self.defect
        if self.error:
            raise ProviderUnavailableError(self.error)
        return number


async def test_those_who_ask_at_once_have_one_answer_and_when_it_was_asked_for() -> None:
    asked, clock = Asked(), FakeClock()
    recent = Recent(asked, 3600, clock)
    began = clock.now
    first = await asyncio.gather(*(recent.get() for _ in range(3)))
    clock.now += 5
    assert [*first, await recent.get()] == [(1, began)] * 4


async def test_an_answer_that_is_too_old_is_had_again() -> None:
    asked = Asked()
    recent = Recent(asked, 0, FakeClock())
    assert [(await recent.get())[0] for _ in range(2)] == [1, 2]


async def test_a_refusal_is_an_answer() -> None:
    asked = Asked()
    asked.error = "it is away"
    recent = Recent(asked, 3600, FakeClock())
    for _ in range(2):
        with pytest.raises(ProviderUnavailableError, match="it is away"):
            await recent.get()
    assert asked.times == 1


async def test_who_gives_up_waiting_leaves_the_question_to_the_next() -> None:
    asked = Asked()
    recent = Recent(asked, 3600, FakeClock())
    asked.answers.clear()
    waiting = asyncio.create_task(recent.get())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    asked.answers.set()
    assert (await recent.get())[0] == 2


async def test_an_answer_that_takes_longer_than_it_is_kept_is_shared_by_all_who_wait() -> None:
    asked = Asked()
    recent = Recent(asked, 0, FakeClock())
    asked.answers.clear()
    waiting = [asyncio.create_task(recent.get()) for _ in range(8)]
    await asyncio.sleep(0.01)
    asked.answers.set()
    assert [number for number, _ in await asyncio.gather(*waiting)] == [1] * 8
    assert (await recent.get())[0] == 2


async def test_an_answer_is_kept_from_its_end_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, now = Asked(), FakeClock()
    monkeypatch.setattr("orchestration.service.providers.recent.time.monotonic", now)
    recent = Recent(asked, 5, FakeClock())
    asked.answers.clear()
    first = asyncio.create_task(recent.get())
    await asyncio.sleep(0)
    now.now += 60
    asked.answers.set()
    await first
    now.now += 4
    assert (await recent.get())[0] == 1
    now.now += 1
    assert (await recent.get())[0] == 2


@pytest.mark.parametrize("gives_up", [0, 1])
async def test_who_gives_up_waiting_leaves_the_answer_to_the_others(gives_up: int) -> None:
    asked = Asked()
    recent = Recent(asked, 3600, FakeClock())
    asked.answers.clear()
    waiting = [asyncio.create_task(recent.get()) for _ in range(2)]
    await asyncio.sleep(0)
    leaving = waiting.pop(gives_up)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    asked.answers.set()
    assert (await waiting[0])[0] == 1


@pytest.mark.parametrize("defect", [False, True])
async def test_a_failure_is_that_of_all_who_waited_for_it(defect: bool) -> None:
    asked = Asked()
    asked.answers.clear()
    asked.error = "it is away"
    kind: type[Exception] = ProviderUnavailableError
    if defect:
        kind, asked.defect = ZeroDivisionError, ZeroDivisionError("it is away")
    recent = Recent(asked, 0, FakeClock())
    waiting = [asyncio.create_task(recent.get()) for _ in range(3)]
    await asyncio.sleep(0)
    asked.answers.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [(type(one), str(one)) for one in found] == [(kind, "it is away")] * 3
    assert asked.times == 1
    asked.error, asked.defect = "", None
    assert (await recent.get())[0] == 2


async def test_what_nobody_waits_for_any_more_is_not_gone_on_with() -> None:
    ended = asyncio.Event()

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(Recent(never, 3600, FakeClock()).get())
    await asyncio.sleep(0.01)
    waiting.cancel()
    async with asyncio.timeout(30):
        await ended.wait()

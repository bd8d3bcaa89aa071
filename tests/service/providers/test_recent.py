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
        self.answers = asyncio.Event()
        self.answers.set()

    async def __call__(self) -> int:
        """The number, once it is let."""
        self.times += 1
        await self.answers.wait()
        if self.error:
            raise ProviderUnavailableError(self.error)
        return self.times


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

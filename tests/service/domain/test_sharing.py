"""Gateways come to equal parts of the work, whoever moves first, and then leave everything where it is."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.service.domain.sharing import Share, share

NAMES = [f"replicas/{number}" for number in range(16)]


class Gateways:
    """Gateways that act one after the other on the same rows."""

    def __init__(self, pieces: int) -> None:
        self.holders = dict.fromkeys(NAMES[:pieces], "")
        self.members: set[str] = set()

    def turn(self, me: str) -> Share:
        found = share(me, self.holders, self.members)
        for name in found.give:
            assert self.holders[name] == me, "only what is held is given up"
            self.holders[name] = ""
        for name in found.take:
            assert not self.holders[name], "only what is free is taken"
            self.holders[name] = me
        assert not (found.give and found.take)
        return found

    def leave(self, member: str) -> None:
        self.members.discard(member)
        for name, holder in self.holders.items():
            if holder == member:
                self.holders[name] = ""

    def round(self, order: Iterable[str]) -> int:
        """Everybody's turn once; how many pieces moved."""
        return sum(len(found.take) + len(found.give) for found in map(self.turn, order))

    def parts(self) -> list[int]:
        held = Counter(self.holders.values())
        assert not held[""], f"nobody works on {held['']} pieces"
        return sorted(held[member] for member in self.members)


@given(
    pieces=st.integers(1, 16),
    coming_and_going=st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefg")), min_size=1, max_size=12),
    seed=st.integers(0, 2**32),
)
def test_parts_become_equal_and_stay(pieces: int, coming_and_going: list[tuple[bool, str]], seed: int) -> None:
    order = random.Random(seed)
    gateways = Gateways(pieces)
    gateways.members.add("first")
    for comes, member in coming_and_going:
        if comes:
            gateways.members.add(member)
        else:
            gateways.leave(member)
        everybody = sorted(gateways.members)
        for _ in range(3):
            gateways.round(order.sample(everybody, len(everybody)))
        parts = gateways.parts()
        assert parts[-1] - parts[0] <= 1
        assert gateways.round(order.sample(everybody, len(everybody))) == 0, "what has settled moves again"


@given(st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=16, max_size=16))
def test_none_keeps_more_than_its_ceiling(held: list[str]) -> None:
    gateways = Gateways(16)
    gateways.holders = dict(zip(NAMES, held, strict=True))
    gateways.members = {"a", "b", "c"}
    for member in "abc":
        gateways.turn(member)
        assert list(gateways.holders.values()).count(member) <= 6


@pytest.mark.parametrize(
    ("members", "parts"), [(1, [16]), (2, [8, 8]), (3, [5, 5, 6]), (5, [3, 3, 3, 3, 4]), (17, [0] + [1] * 16)]
)
def test_the_first_gives_up_what_those_that_come_lack_and_no_more(members: int, parts: list[int]) -> None:
    gateways = Gateways(16)
    everybody = [f"{number:02}" for number in range(members)]
    gateways.members = {everybody[0]}
    gateways.turn(everybody[0])
    gateways.members = set(everybody)
    moved = sum(gateways.round(everybody) for _ in range(2))
    assert gateways.parts() == parts
    first = 16 - list(gateways.holders.values()).count(everybody[0])
    assert moved == 2 * first, "each piece that moved was given up once and taken once"


def test_one_that_waits_for_others_knows_how_much_it_is_owed() -> None:
    holders = dict.fromkeys(NAMES, "old")
    assert share("new", holders, {"old"}) == Share(owed=8)
    assert share("old", holders, {"new"}).give == tuple(sorted(NAMES)[8:])

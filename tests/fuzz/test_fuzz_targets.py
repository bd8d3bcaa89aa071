"""The fuzzers find what is there to be found, and find nothing in a moment's run."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.corpus import BODIES
from tests.fuzz.targets import TARGETS, check_answer, check_template, make_input, run_target, shrink
from tests.support.transcoding_client import Answer


@pytest.mark.parametrize("name", TARGETS)
def test_moment_finds_nothing(name: str) -> None:
    assert run_target(name, 1.0, seed=1) > 0


def test_inputs_follow_from_the_seed() -> None:
    made = [[make_input(BODIES, random.Random(seed)) for _ in range(5)] for seed in (7, 7, 8)]
    assert made[0] == made[1] != made[2]


def test_failure_is_a_finding() -> None:
    with pytest.raises(AssertionError):
        check_answer(Answer(500, {}, b""), 0.0)
    with pytest.raises(AssertionError):
        check_answer(Answer(400, {"Content-Type": "application/json"}, b'{"error":{"code":404,"message":"x"}}'), 0.0)
    with pytest.raises(AssertionError):
        check_answer(Answer(200, {}, b""), 60.0)


def test_finding_is_shortened() -> None:
    assert shrink(lambda text: "a" in text and "z" in text, "xxaxxxxxxxxxzxx") == "az"


def test_template_of_the_corpus_is_right() -> None:
    check_template("/v1/{name=a/*}:b")
    check_template("/{")

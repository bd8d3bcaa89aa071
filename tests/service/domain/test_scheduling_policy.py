"""What a scheduling policy may say, and what it is told when it may not."""

from __future__ import annotations

import pytest

from orchestration.service.domain.policy import SchedulingPolicy, Strategy, check_policy, policy_of
from orchestration.service.errors import InvalidArgumentError
from tests.support import stores


def test_an_empty_policy_has_the_documented_defaults() -> None:
    policy = policy_of(stores.pool())
    assert policy == SchedulingPolicy(
        strategy=Strategy.CHEAPEST, spot="never", fallback_to_on_demand=True, max_replicas_per_node=0
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"strategy": "pack", "max_replicas_per_node": 2}',
        '{"spot": "prefer", "fallback_to_on_demand": false}',
        '{"spot": "never", "fallback_to_on_demand": true}',
    ],
)
def test_a_policy_that_makes_sense(text: str) -> None:
    check_policy(text)


WRONG = [
    ("{", "scheduling_policy_json", "JSON object"),
    ("[]", "scheduling_policy_json", "JSON object"),
    ('{"strategy": "best"}', "scheduling_policy_json.strategy", "'cheapest', 'pack' or 'spread'"),
    ('{"strategi": "pack"}', "scheduling_policy_json.strategi", "did you mean 'strategy'?"),
    ('{"zone": 1}', "scheduling_policy_json.zone", "the keys are strategy, spot, fallback_to_on_demand, max_replicas"),
    ('{"spot": "always"}', "scheduling_policy_json.spot", "'never' or 'prefer'"),
    ('{"spot": null}', "scheduling_policy_json.spot", "'never' or 'prefer'"),
    ('{"fallback_to_on_demand": "yes"}', "scheduling_policy_json.fallback_to_on_demand", "boolean"),
    ('{"fallback_to_on_demand": false}', "scheduling_policy_json.fallback_to_on_demand", 'unless spot is "prefer"'),
    ('{"max_replicas_per_node": -1}', "scheduling_policy_json.max_replicas_per_node", "greater than or equal to 0"),
    ('{"max_replicas_per_node": "3"}', "scheduling_policy_json.max_replicas_per_node", "integer"),
    ('{"max_replicas_per_node": 1.5}', "scheduling_policy_json.max_replicas_per_node", "integer"),
]


@pytest.mark.parametrize(("text", "field", "says"), WRONG)
def test_a_wrong_policy_is_refused_with_the_key(text: str, field: str, says: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_policy(text)
    (violation,) = caught.value.violations
    assert violation.field == field
    assert says in violation.description

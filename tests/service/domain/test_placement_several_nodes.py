"""Placement of replicas that are larger than a node."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestration.service.domain.placement import candidates, capacity, never
from orchestration.service.domain.places import Offer, PoolView, demand_key
from orchestration.service.engines.base import GROUP, RAY
from orchestration.service.engines.over_nodes import Reach
from orchestration.service.providers.spans import MOST_GPUS, MOST_NODES, Span, spans
from orchestration.store.records import Deployment, Node, Pool

POOL = Pool(id="p", name="pool", owner_type="user", owner_id="ann", provider="kubernetes")
ONE = Offer(resource_id="one", gpu_type="H100", gpu_count=4, price_per_hour=8.0, available=2)
TWO = replace(ONE, resource_id="two", gpu_count=8, price_per_hour=16.0, available=1, nodes=2, way=GROUP)
FOUR = replace(TWO, resource_id="four", gpu_count=16, price_per_hour=32.0, nodes=4)
WANTED = Deployment(
    id="d",
    org_id="org",
    owner_id="ann",
    pool_id="p",
    model_name="m",
    engine="vllm",
    inference_model="x",
    gpu_per_replica=8,
)


def view(*offers: Offer, pool: Pool = POOL) -> PoolView:
    engines = ("vllm", "sglang", "tgi", "custom")
    return PoolView(pool=pool, nodes=(), offers=offers or (ONE, TWO, FOUR), reserved={}, engines=engines)


def test_a_replica_gets_as_many_nodes_as_it_needs_at_the_price_of_all() -> None:
    assert never(WANTED, view()) is None
    found = candidates(WANTED, view())
    assert [(item.resource_id, item.feasible) for item in found] == [("two", True), ("one", False)]
    assert found[0].price_per_hour == 16.0
    small = candidates(replace(WANTED, gpu_per_replica=2), view())
    assert [(item.resource_id, item.feasible) for item in small] == [("one", True)], "which several nodes are not for"


def test_caps_are_held_against_all_nodes() -> None:
    capped = replace(POOL, max_cost_per_hour=40.0)
    assert capacity(WANTED, view(pool=capped)) == (2, "max_cost_per_hour 40")
    refusal = never(WANTED, view(pool=replace(POOL, max_cost_per_hour=10.0)))
    assert refusal is not None
    assert refusal.reason == "PRICE_CAP_EXCEEDED"
    assert "16/h" in refusal.message


REFUSED = [
    ("engine", replace(WANTED, engine="tgi"), view(), "engine tgi cannot run over several nodes"),
    (
        "way",
        replace(WANTED, engine="sglang"),
        view(ONE, replace(TWO, way=RAY)),
        "sglang runs over several nodes as one",
    ),
    ("custom", replace(WANTED, engine="custom"), view(), "where configuration.multi_node says how: group or ray"),
    (
        "split",
        replace(WANTED, configuration={"tensor_parallel_size": 3.0}),
        view(),
        "uses all 8 GPUs, and tensor_parallel_size 3 does not",
    ),
    ("cluster", WANTED, view(replace(ONE, one_node_because="there is no crane")), "4 GPUs of offer 'one' of provider"),
    (
        "pool",
        WANTED,
        view(replace(ONE, one_node_because="there is no crane"), pool=replace(POOL, gpu_count=4)),
        "(gpu_count) of pool 'pool'; a replica cannot have several nodes: there is no crane",
    ),
    ("cluster says why", WANTED, view(replace(ONE, one_node_because="there is no crane")), "there is no crane"),
    ("uneven", replace(WANTED, gpu_per_replica=9), view(), "it must split evenly: there are 8, 16"),
    ("uneven engine", replace(WANTED, gpu_per_replica=9, engine="tgi"), view(), "engine tgi cannot run over several"),
    ("one node", WANTED, view(ONE), "over several nodes 8 GPUs take 2 such nodes with 4 each, and fewer are there"),
    (
        "too few nodes",
        replace(WANTED, gpu_per_replica=12),
        view(replace(ONE, more_machines="a crane brings more"), TWO),
        "there are 8; 12 GPUs take 3 such nodes with 4 each, and fewer are there; a crane brings more",
    ),
    (
        "too few nodes for its stages",
        replace(WANTED, gpu_per_replica=12, configuration={"tensor_parallel_size": 2.0}),
        view(replace(ONE, gpu_count=3)),
        "12 GPUs take 6 such nodes with 2 each",
    ),
    ("one node, and an engine that cannot", replace(WANTED, engine="tgi"), view(ONE), "engine tgi cannot run over"),
]


@pytest.mark.parametrize(("wanted", "seen", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_have_several_nodes_is_told_why(wanted: Deployment, seen: PoolView, words: str) -> None:
    refusal = never(wanted, seen)
    assert refusal is not None
    assert refusal.reason == "GPU_COUNT_EXCEEDED"
    assert words in refusal.message
    assert not candidates(wanted, seen)[0].feasible


@pytest.mark.parametrize(
    ("configuration", "engine"), [({"multi_node": "group"}, "custom"), ({"pipeline_parallel_size": 4.0}, "sglang")]
)
def test_an_engine_that_can_is_not_refused(configuration: dict[str, object], engine: str) -> None:
    assert never(replace(WANTED, engine=engine, configuration=configuration), view()) is None


def test_the_pools_gpus_of_a_node_are_those_of_each() -> None:
    assert never(WANTED, view(pool=replace(POOL, gpu_count=4))) is None
    refusal = never(WANTED, view(pool=replace(POOL, gpu_count=2)))
    assert refusal is not None
    assert (refusal.reason, "has 4 GPUs, and pool 'pool' takes machines with 2" in refusal.message) == (
        "GPU_COUNT_NOT_ALLOWED",
        True,
    )
    refusal = never(replace(WANTED, gpu_per_replica=9), view(pool=replace(POOL, gpu_count=4)))
    assert refusal is not None
    assert "gpu_count" in refusal.message


def test_nodes_that_are_enough_are_not_said_to_be_too_few() -> None:
    (_, small) = candidates(WANTED, view(replace(ONE, more_machines="a crane brings more"), TWO, FOUR))
    assert small.message.endswith("over several nodes it must split evenly: there are 8, 16")


def test_nodes_of_agents_are_never_several() -> None:
    node = Node(id="n", pool_id="p", provider="local", provider_instance_id="n", hostname="n", gpu_total=4)
    refusal = never(WANTED, replace(view(), nodes=(node,), offers=None))
    assert refusal is not None
    assert refusal.message.endswith("is more than the 4 GPUs of node 'n' of pool 'pool'")


def test_a_full_place_of_several_nodes_is_waited_for() -> None:
    (first, *_) = candidates(WANTED, view(ONE, replace(TWO, available=0)))
    assert first.reason == "NO_CAPACITY"


def test_deployments_are_placed_alike_when_their_engines_reach_as_far() -> None:
    same = replace(WANTED, configuration={"max_model_len": 1024.0})
    other = replace(WANTED, configuration={"tensor_parallel_size": 3.0})
    assert demand_key(WANTED) == demand_key(same) != demand_key(other)
    unknown = demand_key(replace(WANTED, engine="of another version"))
    assert not unknown[-1].ways


def split(gpus: int, sizes: list[int], engine: str = "vllm", **configuration: object) -> str:
    """Nodes and GPUs of each that a replica gets of nodes of these sizes; or why it gets none."""
    one = replace(ONE, gpu_count=max(sizes), available=len(sizes))
    several = [
        replace(TWO, resource_id=f"{span.nodes}x{span.each}", gpu_count=span.gpus, nodes=span.nodes)
        for span in spans(sizes)
    ]
    wanted = replace(WANTED, gpu_per_replica=gpus, engine=engine, configuration=configuration)
    seen = view(one, *several)
    refusal = never(wanted, seen)
    found = candidates(wanted, seen)[0]
    assert found.feasible is (refusal is None)
    return found.resource_id if refusal is None else refusal.message


TENSOR, PIPELINE = "tensor_parallel_size", "pipeline_parallel_size"


@pytest.mark.parametrize(
    ("gpus", "nodes", "configuration", "chosen"),
    [
        (12, 4, {}, "3x4"),
        (20, 5, {}, "5x4"),
        (24, 6, {}, "3x8"),
        (16, 4, {}, "2x8"),
        (12, 2, {}, "2x6"),
        (10, 4, {}, "2x5"),
        (9, 9, {}, "3x3"),
        (12, 3, {TENSOR: 4.0}, "3x4"),
        (12, 3, {TENSOR: 6.0}, "2x6"),
        (12, 3, {TENSOR: 12.0}, "2x6"),
        (24, 6, {TENSOR: 12.0}, "4x6"),
        (24, 6, {TENSOR: 12.0, PIPELINE: 2.0}, "4x6"),
        (16, 4, {PIPELINE: 1.0}, "2x8"),
        (12, 4, {PIPELINE: 3.0}, "3x4"),
    ],
)
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_the_split_goes_with_the_engines_stages(
    gpus: int, nodes: int, configuration: dict[str, object], chosen: str, engine: str
) -> None:
    assert split(gpus, [8] * nodes, engine, **configuration) == chosen


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_stages_that_go_with_no_split_are_refused_with_those_that_do(engine: str) -> None:
    said = split(12, [8, 8], engine, tensor_parallel_size=4.0)
    assert "2 nodes with 6 GPUs each do not go with stages over 4 GPUs" in said
    assert said.endswith("tensor_parallel_size may be 1, 2, 3, 6, 12")


def test_the_pools_gpus_of_a_node_choose_the_split() -> None:
    offers = [
        replace(TWO, resource_id=f"{nodes}x{12 // nodes}", gpu_count=12, nodes=nodes, price_per_hour=1.0)
        for nodes in (2, 3)
    ]
    seen = view(ONE, *offers, pool=replace(POOL, gpu_count=6))
    assert candidates(replace(WANTED, gpu_per_replica=12), seen)[0].resource_id == "2x6"


def test_a_split_that_is_full_is_waited_for() -> None:
    full = replace(TWO, resource_id="3x4", gpu_count=12, nodes=3, available=0)
    other = replace(TWO, resource_id="2x6", gpu_count=12, nodes=2, available=5)
    found = candidates(replace(WANTED, gpu_per_replica=12), view(ONE, other, full))
    assert [item.resource_id for item in found] == ["3x4", "one"]
    assert found[0].reason == "NO_CAPACITY"


def ranks(nodes: int, stages: int, tensor: int, node: int) -> list[tuple[int, int]]:
    """Stage and rank in it of each process that SGLang starts on a node."""
    stages_a_node, nodes_a_stage = max(stages // nodes, 1), max(nodes // stages, 1)
    first_stage, each = stages_a_node * (node // nodes_a_stage), tensor // nodes_a_stage
    first = each * (node % nodes_a_stage)
    return [
        (stage, rank)
        for stage in range(first_stage, first_stage + stages_a_node)
        for rank in range(first, first + each)
    ]


def test_where_stages_and_nodes_go_together_all_processes_start_and_else_not() -> None:
    for gpus in range(2, 65):
        for nodes in (count for count in range(2, gpus + 1) if gpus % count == 0):
            for tensor in (count for count in range(1, gpus + 1) if gpus % count == 0):
                each, stages = gpus // nodes, gpus // tensor
                started = [ranks(nodes, stages, tensor, node) for node in range(nodes)]
                wanted = {(stage, rank) for stage in range(stages) for rank in range(tensor)}
                right = (
                    all(len(here) == each for here in started) and {one for here in started for one in here} == wanted
                )
                assert Reach((GROUP,), stage=tensor, gpus=gpus).splits_over(each) is right, (gpus, nodes, tensor)


def test_gpus_split_evenly_in_every_way() -> None:
    found = spans([8, 8, 8, 4])
    assert [span for span in found if span.gpus == 16] == [Span(2, 8), Span(4, 4)]
    assert [span for span in found if span.gpus == 12] == [Span(2, 6), Span(3, 4), Span(4, 3)]
    assert [span for span in found if span.gpus in {11, 25}] == []
    assert found[0] == Span(3, 3)
    assert spans([4]) == spans([]) == spans([4, 0]) == []


def test_the_number_of_splits_is_bounded() -> None:
    assert spans([1024] * 5000) == []
    assert max(span.nodes for span in spans([8] * 5000)) == MOST_NODES
    assert len(spans([100] * 5000)) <= 2 * MOST_GPUS

"""Placement: which place is chosen, and what each refusal says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestration.service.domain.placement import candidates, capacity, never
from orchestration.service.domain.places import PoolView
from orchestration.store.records import Deployment, Node, NodeState, Pool, Reservation

POOL = Pool(id="p", name="pool", owner_type="user", owner_id="ann", provider="local")
NODE = Node(
    id="n1",
    pool_id="p",
    provider="local",
    provider_instance_id="host",
    hostname="host",
    gpu_type="NVIDIA A100",
    gpu_total=4,
    vcpu_total=8,
    price_per_hour=2.0,
)
WANTED = Deployment(
    id="d",
    org_id="org",
    owner_id="ann",
    pool_id="p",
    model_name="m",
    engine="vllm",
    inference_model="x",
    gpu_per_replica=2,
)


def view(pool: Pool = POOL, *nodes: Node, **fields: object) -> PoolView:
    return PoolView(pool=pool, nodes=nodes or (NODE,), reserved={}, engines=("vllm",), **fields)  # type: ignore[arg-type]


REFUSALS: list[tuple[str, Pool, Node, Deployment, str, str]] = [
    ("dedicated", replace(POOL, is_dedicated=True, owner_id="bob"), NODE, WANTED, "POOL_DEDICATED", "bob"),
    ("engine", POOL, NODE, replace(WANTED, engine="tgi"), "ENGINE_NOT_SUPPORTED", "tgi"),
    ("region", replace(POOL, region_constraint=("eu",)), NODE, WANTED, "REGION_NOT_ALLOWED", "no region that is known"),
    (
        "other region",
        replace(POOL, region_constraint=("eu", "us")),
        replace(NODE, region="asia"),
        WANTED,
        "REGION_NOT_ALLOWED",
        "constrained to eu, us, and node 'host' is in asia",
    ),
    ("pool gpus", replace(POOL, gpu_count=1), NODE, WANTED, "GPU_COUNT_EXCEEDED", "gpu_count"),
    ("node gpus", POOL, NODE, replace(WANTED, gpu_per_replica=8), "GPU_COUNT_EXCEEDED", "4 GPUs"),
    ("no gpus", POOL, replace(NODE, gpu_total=0), WANTED, "GPU_COUNT_EXCEEDED", "gpu_per_replica to 0"),
    ("gpu type", replace(POOL, allowed_gpu_types=("H100",)), NODE, WANTED, "GPU_TYPE_NOT_ALLOWED", "H100"),
    ("price", replace(POOL, max_cost_per_hour=1.0), NODE, WANTED, "PRICE_CAP_EXCEEDED", "max_cost_per_hour 1"),
]


@pytest.mark.parametrize(
    ("pool", "node", "wanted", "reason", "text"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS]
)
def test_what_can_never_run_is_refused(pool: Pool, node: Node, wanted: Deployment, reason: str, text: str) -> None:
    refusal = never(wanted, view(pool, node))
    assert refusal is not None
    assert refusal.reason == reason
    assert text in refusal.message
    assert not candidates(wanted, view(pool, node))[0].feasible


def test_gpu_types_are_compared_as_people_write_them() -> None:
    pool = replace(POOL, allowed_gpu_types=("a-100",))
    assert never(WANTED, view(pool)) is None


def test_reserved_gpus_and_money_count() -> None:
    full = PoolView(pool=POOL, nodes=(NODE,), reserved={"n1": Reservation(2, 3, 4.0)}, engines=("vllm",))
    assert candidates(WANTED, full)[0].reason == "NO_FREE_GPUS"
    capped = replace(POOL, max_cost_per_hour=5.0)
    costly = PoolView(pool=capped, nodes=(NODE,), reserved={"n1": Reservation(2, 0, 4.0)}, engines=("vllm",))
    assert candidates(WANTED, costly)[0].reason == "PRICE_CAP_REACHED"
    limited = PoolView(pool=replace(POOL, max_nodes=2), nodes=(NODE,), reserved={"n1": Reservation(2, 0, 0.0)})
    assert candidates(WANTED, limited)[0].reason == "POOL_FULL"


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [("", "cheap"), ('{"strategy": "pack"}', "full"), ('{"strategy": "spread"}', "empty")],
)
def test_strategies(policy: str, chosen: str) -> None:
    pool = replace(POOL, scheduling_policy_json=policy)
    nodes = [
        replace(NODE, id=name, price_per_hour=price) for name, price in (("cheap", 1.0), ("full", 2.0), ("empty", 3.0))
    ]
    reserved = {"cheap": Reservation(1, 1, 1.0), "full": Reservation(2, 2, 4.0)}
    looked = PoolView(pool=pool, nodes=nodes, reserved=reserved, engines=("vllm",))
    assert candidates(WANTED, looked)[0].node_id == chosen


def test_a_draining_node_takes_nothing() -> None:
    assert candidates(WANTED, view(POOL, replace(NODE, state=NodeState.DRAINING)))[0].reason == "NODE_NOT_READY"


@pytest.mark.parametrize(
    ("pool", "wanted", "most"),
    [
        (POOL, WANTED, 2),
        (replace(POOL, max_nodes=1), WANTED, 1),
        (replace(POOL, max_cost_per_hour=3.0), WANTED, 1),
        (POOL, replace(WANTED, gpu_per_replica=0), 32),
        (replace(POOL, scheduling_policy_json='{"max_replicas_per_node": 3}'), replace(WANTED, gpu_per_replica=0), 3),
    ],
)
def test_capacity_of_an_empty_pool(pool: Pool, wanted: Deployment, most: int) -> None:
    assert capacity(wanted, view(pool))[0] == most


def test_a_pool_without_nodes_has_no_known_capacity() -> None:
    assert capacity(WANTED, PoolView(pool=POOL, nodes=(), reserved={})) == (None, "")


@pytest.mark.parametrize("region", ["EU", "eu", " Eu "])
def test_a_node_in_an_allowed_region_is_taken(region: str) -> None:
    pool = replace(POOL, region_constraint=("us", region))
    assert candidates(WANTED, view(pool, replace(NODE, region="eu")))[0].feasible


def test_the_gpus_of_a_node_that_the_pool_uses_are_limited_by_gpu_count() -> None:
    pool = replace(POOL, gpu_count=2)
    assert capacity(WANTED, view(pool))[0] == 1
    one = PoolView(pool=pool, nodes=(NODE,), reserved={"n1": Reservation(1, 2, 0.0)}, engines=("vllm",))
    assert candidates(WANTED, one)[0].reason == "NO_FREE_GPUS"


def test_gpus_that_an_agent_sees_in_use_are_not_given_away() -> None:
    busy = replace(NODE, gpu_reported=3)
    assert candidates(WANTED, view(POOL, busy))[0].reason == "NO_FREE_GPUS"
    assert candidates(WANTED, view(POOL, replace(busy, managed=True)))[0].feasible


@pytest.mark.parametrize("state", [NodeState.UNHEALTHY, NodeState.PROVISIONING, NodeState.LOST, NodeState.FAILED])
def test_a_node_in_trouble_takes_nothing_and_is_no_reason_to_refuse_for_good(state: NodeState) -> None:
    looked = view(POOL, replace(NODE, state=state))
    (found,) = candidates(WANTED, looked)
    assert (found.reason, found.message) == ("NODE_NOT_READY", f"node 'host' is {state}")
    assert never(WANTED, looked) is None


def shared(pool: Pool, **reserved: Reservation) -> PoolView:
    nodes = [replace(NODE, id=name, hostname=name) for name in ("n1", "n2", "n3")]
    return PoolView(pool=pool, nodes=nodes, reserved=reserved, engines=("vllm",), shares_nodes=True)


def test_where_nodes_are_shared_max_nodes_counts_those_in_use() -> None:
    pool = replace(POOL, max_nodes=2)
    used = {"n1": Reservation(1, 2, 2.0), "n2": Reservation(2, 4, 4.0)}
    best, *others = candidates(WANTED, shared(pool, **used))
    assert (best.node_id, best.feasible) == ("n1", True), "a node in use takes more"
    assert {item.node_id: item.reason for item in others} == {"n2": "NO_FREE_GPUS", "n3": "POOL_FULL"}
    assert candidates(WANTED, shared(pool, n1=Reservation(1, 2, 2.0)))[0].feasible
    assert capacity(WANTED, shared(pool)) == (4, "max_nodes 2")


def test_a_free_place_among_priced_ones_is_not_limited_by_money() -> None:
    pool = replace(POOL, max_cost_per_hour=2.0)
    nodes = (NODE, replace(NODE, id="n2", price_per_hour=0.0))
    assert capacity(WANTED, view(pool, *nodes))[0] == 4


def test_the_number_of_the_largest_node_is_told() -> None:
    nodes = (replace(NODE, gpu_total=2), replace(NODE, id="n2", hostname="big", gpu_total=8))
    refusal = never(replace(WANTED, gpu_per_replica=16), view(POOL, *nodes))
    assert refusal is not None
    assert "gpu_per_replica 16 is more than the 8 GPUs of node 'big'" in refusal.message

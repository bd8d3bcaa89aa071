"""Section A: rules that do not fit their messages, or each other, stop the start and name the method."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool

from orchestration.gateway import Gateway, GatewayConfig, InProcessUpstream, RuleError
from tests.support.transcoding_service import compile_protos

HEAD = """
syntax = "proto3";
package ruletest;
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
message Inner { string s = 1; }
message M {
  string name = 1;
  Inner inner = 2;
  repeated string rs = 3;
  map<string, string> m = 4;
  google.protobuf.Struct st = 5;
  repeated Inner inners = 6;
}
"""


def service(*rules: str) -> str:
    methods = "\n".join(
        f"rpc R{index}(M) returns (M) {{ option (google.api.http) = {{ {rule} }}; }}"
        for index, rule in enumerate(rules)
    )
    return f"{HEAD}\nservice S {{ {methods} }}"


def gateway(proto: str, config: GatewayConfig | None = None) -> Gateway:
    pool = DescriptorPool()
    for file in compile_protos(("rules.proto", proto)).file:
        pool.Add(file)

    async def echo(request: bytes, context: object) -> bytes:
        return request

    def register(server: Any) -> None:
        names = [method.name for method in pool.FindServiceByName("ruletest.S").methods]
        handlers: dict[str, Any] = {name: grpc.unary_unary_rpc_method_handler(echo) for name in names}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("ruletest.S", handlers),))

    return Gateway(InProcessUpstream([register], (), pool), None, config)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        pytest.param(['get: "/a//b"'], "column 4", id="T002"),
        pytest.param(['get: "/a/{rs}"'], "rs is repeated", id="T010-repeated"),
        pytest.param(['get: "/a/{m}"'], "m is a map", id="T010-map"),
        pytest.param(['get: "/a/{inner}"'], "inner is a message", id="T010-message"),
        pytest.param(['get: "/a/{st}"'], "can only be given in a body", id="T010-struct"),
        pytest.param(['get: "/a/{inners.s}"'], "inners is a list of messages", id="T010-in-repeated"),
        pytest.param(['get: "/a/{nope}"'], "column 5: M has no field 'nope'", id="T010-unknown"),
        pytest.param(['get: "/a/{name.x}"'], "name is no message", id="T010-below-scalar"),
        pytest.param(['post: "/a" body: "inner.s"'], "body 'inner.s'", id="T011-nested-body"),
        pytest.param(['post: "/a" body: "nope"'], "has no such field", id="T011-unknown-body"),
        pytest.param(['get: "/a" response_body: "inner.s"'], "response_body 'inner.s'", id="T011-nested-response"),
        pytest.param(['get: "/a" response_body: "nope"'], "response_body 'nope'", id="T011-unknown-response"),
        pytest.param(['post: "/a/{name}" body: "name"'], "bound to the body and to the path", id="T011-both"),
        pytest.param(['get: "/a" body: "*"'], "GET must not have a body", id="T013-get"),
        pytest.param(['delete: "/a" body: "inner"'], "DELETE must not have a body", id="T013-delete"),
        pytest.param(
            ['get: "/a" additional_bindings { get: "/b" additional_bindings { get: "/c" } }'],
            "additional_bindings must not hold additional_bindings",
            id="T014",
        ),
        pytest.param(['body: "*"'], "names no path", id="no-path"),
        pytest.param(
            ['get: "/a/{name}"', 'get: "/a/{inner.s}"'],
            "same shape as '/a/{name}' of ruletest.S.R0",
            id="two-of-one-shape",
        ),
    ],
)
async def test_bad_rule_stops_the_start(rules: list[str], said: str) -> None:
    with pytest.raises(RuleError) as caught:
        await gateway(service(*rules)).start()
    assert said in str(caught.value)
    assert f"ruletest.S.R{len(rules) - 1}" in str(caught.value)


async def test_body_on_get_is_an_option() -> None:
    """T013."""
    made = gateway(service('get: "/a" body: "*"'), GatewayConfig(allow_get_body=True))
    await made.start()
    assert made.routes == [("GET", "/a", "ruletest.S.R0", "*", "")]


async def test_order_of_rules_does_not_matter() -> None:
    first, second = gateway(service('get: "/a/*"', 'get: "/a/b"')), gateway(service('get: "/a/b"', 'get: "/a/*"'))
    await first.start()
    await second.start()
    assert sorted(each[1] for each in first.routes) == sorted(each[1] for each in second.routes)


async def test_unknown_service_is_refused() -> None:
    pool = DescriptorPool()
    for file in compile_protos(("rules.proto", service('get: "/a"'))).file:
        pool.Add(file)
    with pytest.raises(RuleError, match=r"no service no\.Such"):
        await Gateway(InProcessUpstream([], (), pool), ["no.Such"]).start()


async def test_method_without_handler_is_refused() -> None:
    pool = DescriptorPool()
    for file in compile_protos(("rules.proto", service('get: "/a"'))).file:
        pool.Add(file)

    def register(server: Any) -> None:
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("ruletest.S", {}),))

    with pytest.raises(RuleError, match=r"ruletest\.S\.R0: no handler"):
        await Gateway(InProcessUpstream([register], (), pool)).start()

"""A field has its value from one place, and a oneof one member, wherever these may stand."""

from __future__ import annotations

import pytest

from orchestration.gateway import RuleError
from tests.gateway.test_transcoding_rules import gateway
from tests.support.transcoding_client import Running, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("target", "body", "field"),
    [
        pytest.param("/v1/choices/x", b'{"cb":1}', "cb", id="T068-body"),
        pytest.param("/v1/choices/x", b'{"cs":{}}', "cs", id="T068-message"),
        pytest.param("/v1/choices/x/s", b'{"ca":"y"}', "ca", id="T068-nested"),
        pytest.param("/v1/choices/x", b'{"ca":"y"}', "ca", id="T131"),
        pytest.param("/v1/choices/x/s", b'{"cs":{"s":"y"}}', "cs.s", id="T131-nested"),
    ],
)
async def test_body_contradicts_the_path(served: Running, target: str, body: bytes, field: str) -> None:
    answer = await served.send("POST", target, body=body)
    assert answer.status == 400, answer.body
    assert list(answer.violations) == [field]


@pytest.mark.parametrize(
    ("target", "body"),
    [
        pytest.param("/v1/choices/x", b'{"cb":null}', id="null"),
        pytest.param("/v1/choices/x", b'{"ca":"x"}', id="the-same"),
        pytest.param("/v1/choices/x", b'{"name":"y"}', id="another-field"),
        pytest.param("/v1/choices/x/s", b'{"cs":{"n":1}}', id="beside-it"),
    ],
)
async def test_body_agrees_with_the_path(served: Running, target: str, body: bytes) -> None:
    answer = await served.send("POST", target, body=body)
    assert answer.status == 200, answer.body


HEAD = """
syntax = "proto3";
package ruletest;
import "google/api/annotations.proto";
message Inner { string s = 1; oneof inner_choice { string x = 2; string y = 3; } }
message M {
  oneof choice { string a = 1; int32 b = 2; Inner c = 3; }
  Inner inner = 4;
  string camel_case = 5;
}
service S { rpc R(M) returns (M) { option (google.api.http) = { %s }; } }
"""


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        pytest.param('get: "/x/{a}/{b}"', "a and b exclude each other (oneof choice)", id="two-of-the-path"),
        pytest.param('get: "/x/{inner.x}/{inner.y}"', "x and y exclude each other (oneof inner_choice)", id="nested"),
        pytest.param('get: "/x/{a}/{c.s}"', "a and c exclude each other", id="through-a-message"),
        pytest.param('post: "/x/{a}" body: "b"', "a and b exclude each other", id="path-and-body"),
        pytest.param('post: "/x/{c.s}" body: "a"', "c and a exclude each other", id="path-below-and-body"),
        pytest.param(
            'post: "/x/{camel_case}" body: "camelCase"', "bound to the body and to the path", id="in-another-spelling"
        ),
    ],
)
async def test_rule_that_sets_two_stops_the_start(rule: str, said: str) -> None:
    with pytest.raises(RuleError) as caught:
        await gateway(HEAD % rule).start()
    assert said in str(caught.value)
    assert "ruletest.S.R" in str(caught.value)


async def test_query_contradicts_the_frame_of_a_stream() -> None:
    async with running("in_process") as served, served.socket("/v1/rooms/a/chat?text=x") as socket:
        await socket.send_json({"text": "y"})
        frame = await socket.receive_json()
        assert "text: is in the query and in the message" in frame["error"]["message"]

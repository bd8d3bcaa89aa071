"""What a setting changes in how queries are read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from orchestration.gateway import GatewayConfig
from tests.support.transcoding_client import Running, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lax() -> AsyncIterator[Running]:
    config = GatewayConfig(map_query=True, lax_bools=True, keep_plus=True)
    async with running("in_process", config=config) as service:
        yield service


@pytest.mark.parametrize(
    ("query", "field", "value"),
    [
        pytest.param("mk_string[k]=v", "mk_string", {"k": "v"}, id="T059-string"),
        pytest.param("mk_string[a]=1&mk_string[b]=2", "mk_string", {"a": "1", "b": "2"}, id="T059-two"),
        pytest.param("mk_string%5Ba.b%5D=v", "mk_string", {"a.b": "v"}, id="T059-dot-in-key"),
        pytest.param("mk_string[a]b]=v", "mk_string", {"a]b": "v"}, id="T059-bracket-in-key"),
        pytest.param("mk_string[]=v", "mk_string", {"": "v"}, id="T059-empty-key"),
        pytest.param("mkString[k]=v", "mk_string", {"k": "v"}, id="T059-camel"),
        pytest.param("mk_int32[-5]=v", "mk_int32", {"-5": "v"}, id="T059-int-key"),
        pytest.param("mk_bool[true]=v", "mk_bool", {"true": "v"}, id="T059-bool-key"),
        pytest.param("mk_uint64[18446744073709551615]=v", "mk_uint64", {"18446744073709551615": "v"}, id="T059-uint64"),
        pytest.param("mv_color[k]=1", "mv_color", {"k": "RED"}, id="T059-enum"),
        pytest.param("mv_bool[k]=yes", "mv_bool", {"k": True}, id="T059-lax-bool"),
        pytest.param(
            "mv_timestamp[k]=2020-01-01T00:00:00Z", "mv_timestamp", {"k": "2020-01-01T00:00:00Z"}, id="T059-wkt"
        ),
        pytest.param("a_bool=1", "a_bool", True, id="T080-1"),
        pytest.param("a_bool=T", "a_bool", True, id="T080-T"),
        pytest.param("a_bool=True", "a_bool", True, id="T080-True"),
        pytest.param("a_bool=YES", "a_bool", True, id="T080-YES"),
        pytest.param("o_bool=0", "o_bool", False, id="T080-0"),
        pytest.param("o_bool=off", "o_bool", False, id="T080-off"),
        pytest.param("r_bool=f&r_bool=n&r_bool=on", "r_bool", [False, False, True], id="T080-repeated"),
        pytest.param("w_bool=no", "w_bool", False, id="T080-wrapper"),
        pytest.param("a_string=a+b", "a_string", "a+b", id="T103-plus"),
        pytest.param("a_string=a%20b", "a_string", "a b", id="T103-space"),
        pytest.param("a_string=a%2Bb", "a_string", "a+b", id="T103-encoded"),
    ],
)
async def test_setting_takes_more(lax: Running, query: str, field: str, value: Any) -> None:
    answer = await lax.get(f"/v1/everything?{query}")
    assert answer.status == 200, answer.body
    assert answer.json[field] == value


@pytest.mark.parametrize(
    ("query", "name"),
    [
        pytest.param("mk_string[k]=1&mk_string[k]=2", "mk_string[k]", id="T059-twice"),
        pytest.param("mk_int32[1]=1&mk_int32[01]=2", "mk_int32[01]", id="T059-twice-spelt-differently"),
        pytest.param("mk_int32[x]=1", "mk_int32[x]", id="T059-bad-key"),
        pytest.param("mk_bool[1]=1", "mk_bool[1]", id="T059-bad-bool-key"),
        pytest.param("mv_int32[k]=x", "mv_int32[k]", id="T059-bad-value"),
        pytest.param("mv_sub[k]=x", "mv_sub[k]", id="T059-message"),
        pytest.param("a_string[k]=x", "a_string[k]", id="T059-no-map"),
        pytest.param("r_string[0]=x", "r_string[0]", id="T059-list"),
        pytest.param("nope[k]=x", "nope[k]", id="T059-unknown"),
        pytest.param("mk_string=x", "mk_string", id="T059-whole"),
        pytest.param("mk_string.k=x", "mk_string.k", id="T059-dot"),
        pytest.param("mk_string[k].x=x", "mk_string[k].x", id="T059-below"),
        pytest.param("a_bool=2", "a_bool", id="T080-2"),
        pytest.param("a_bool=tRUE", "a_bool", id="T080-case"),
        pytest.param("a_bool=", "a_bool", id="T080-empty"),
    ],
)
async def test_setting_takes_not_everything(lax: Running, query: str, name: str) -> None:
    answer = await lax.get(f"/v1/everything?{query}")
    assert answer.status == 400, answer.body
    assert list(answer.violations) == [name]


async def test_lax_bool_stands_in_a_path_too(lax: Running) -> None:
    """T080."""
    answer = await lax.get("/v1/numbers/1/1/YES/RED/1/aGk/2020-01-01T00:00:00Z/s")
    assert answer.json["b"] is True

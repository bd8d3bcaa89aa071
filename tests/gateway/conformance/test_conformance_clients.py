"""Requests as Google's REST clients for Python make them, with values that URLs and JSON are bad at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio
from google.protobuf import json_format

from orchestration.gateway import GatewayConfig
from tests.support.compliance import SERVICE, call_as_client, compliance_message, compliance_pool
from tests.support.echoing import Echo, echoing
from tests.support.transcoding_client import Answer, Running

pytestmark = pytest.mark.asyncio(loop_scope="module")


def repeated(info: dict[str, Any] | None = None, **fields: Any) -> Any:
    made = compliance_message("Repeated")()
    return json_format.ParseDict({**fields, "info": info} if info is not None else fields, made)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[tuple[Running, Echo]]:
    async with echoing(compliance_pool(), [SERVICE]) as running:
        yield running


TEXTS: Final = {
    "plain": "Hello",
    "reserved": "Hello+there :/?#[]@!$&'()*,;=",
    "unreserved": "a-z_.~09",
    "percent": "100% %41 %2F %zz",
    "quotes": "\"'`\\<>^{|}",
    "spaces": " two  spaces ",
    "controls": "tab\tnewline\nreturn\rnul\0del\x7f",
    "latin": "ÀÉñß",
    "cjk": "日本語 한국어",
    "emoji": "\N{PILE OF POO}\N{FAMILY}",
    "right-to-left": "\u202eשלום",
    "dots": "...",
}

NUMBERS: Final[dict[str, dict[str, Any]]] = {
    "zero": dict.fromkeys(["f_int32", "f_uint64", "f_double", "f_float"], 0) | {"f_bool": False, "f_bytes": ""},
    "positive": {"f_int32": 2147483647, "f_sint32": 2147483647, "f_sfixed32": 2147483647, "f_uint32": 4294967295}
    | {"f_fixed32": 4294967295, "f_int64": "9223372036854775807", "f_sint64": "9223372036854775807"}
    | {"f_sfixed64": "9223372036854775807", "f_uint64": "18446744073709551615", "f_fixed64": "18446744073709551615"}
    | {"f_double": 1.7976931348623157e308, "f_float": 3.4028234663852886e38, "f_bool": True},
    "negative": {"f_int32": -2147483648, "f_sint32": -2147483648, "f_sfixed32": -2147483648}
    | {"f_int64": "-9223372036854775808", "f_sint64": "-9223372036854775808", "f_sfixed64": "-9223372036854775808"}
    | {"f_double": -1.7976931348623157e308, "f_float": -3.4028234663852886e38},
    "tiny": {"f_double": 5e-324, "f_float": 1.401298464324817e-45, "p_double": -0.0},
    "not-a-number": {"f_double": "NaN", "f_float": "NaN"},
    "infinite": {"f_double": "Infinity", "f_float": "-Infinity"},
    "decimal": {"f_float": 0.1, "f_double": 0.1, "p_double": 1e21},
    "bytes": {"f_bytes": "/+8A/w=="},
    "enums": {"f_kingdom": "ANIMALS", "p_kingdom": "KINGDOM_UNSPECIFIED", "r_kingdom": ["ARCHAEA", "BACTERIA"]},
    "unset": {},
    "present": {"p_string": "", "p_int32": 0, "p_double": 0, "p_bool": False, "f_string": "x"},
    "nested": {"f_child": {"f_string": "x", "f_child": {"f_bool": True}, "p_string": "", "p_child": {"f_double": 1}}},
    "optional-nested": {"p_child": {"f_float": 1.5, "f_kingdom": "BACTERIA", "p_bool": False}},
    "repeated": {"r_string": ["", "a,b", "a&b", "é"], "r_int64": ["1", "-9223372036854775808"]},
    "well-known": {"t_timestamp": "2020-01-02T03:04:05.000000006Z", "t_duration": "-1.500s", "t_mask": "aB,c.dE"},
    "wrapped": {"w_int64": "9007199254740993", "w_bool": False, "w_string": ""},
}

INFOS: Final[dict[str, dict[str, Any]]] = {
    **{f"text-{name}": {"f_string": text, "p_string": text} for name, text in TEXTS.items()},
    **NUMBERS,
}


def assert_same(answer: Answer, got: Any, sent: Any) -> None:
    assert got.SerializeToString(deterministic=True) == sent.SerializeToString(deterministic=True)
    back = json_format.Parse(answer.body.decode(), type(sent)())
    assert back.SerializeToString(deterministic=True) == sent.SerializeToString(deterministic=True)


@pytest.mark.parametrize("numeric", [True, False], ids=["numbers", "names"])
@pytest.mark.parametrize("info", INFOS.values(), ids=INFOS.keys())
@pytest.mark.parametrize("method", ["RepeatBody", "RepeatBodyInfo", "RepeatQuery", "RepeatBodyPut", "RepeatBodyPatch"])
async def test_message_comes_back(
    service: tuple[Running, Echo], method: str, info: dict[str, Any], *, numeric: bool
) -> None:
    sent = repeated(info, name="n", f_int32=-1, f_int64="7", f_double=0.25, p_int32=0, verify=True)
    answer, got = await call_as_client(service, method, sent, numeric=numeric)
    if method == "RepeatQuery":
        # A query says nothing of messages that are there and hold nothing.
        for each in (sent, got):
            if not each.info.ListFields():
                each.ClearField("info")
    assert_same(answer, got, sent)


@pytest.mark.parametrize("text", [text for text in TEXTS.values() if "/" not in text], ids=ascii)
async def test_text_in_a_path_comes_back(service: tuple[Running, Echo], text: str) -> None:
    info = {"f_string": text, "f_int32": -5, "f_double": -1e-7, "f_bool": True, "f_kingdom": "ANIMALS"}
    sent = repeated(info, name="é&=+")
    answer, got = await call_as_client(service, "RepeatSimplePath", sent)
    assert_same(answer, got, sent)


@pytest.mark.parametrize("double", ["NaN", "Infinity", "-Infinity", 1e300, 5e-324, 1.5])
async def test_number_in_a_path_comes_back(service: tuple[Running, Echo], double: Any) -> None:
    """But for those that Python spells in another way."""
    info = {"f_string": "x", "f_int32": 1, "f_double": double, "f_bool": True, "f_kingdom": "ARCHAEA"}
    sent = repeated(info)
    if isinstance(double, str):
        running, echo = service
        answer = await running.get(f"/v1beta1/repeat/x/1/{double}/true/ARCHAEA:simplepath")
        assert_same(answer, echo.last(), sent)
    else:
        assert_same(*await call_as_client(service, "RepeatSimplePath", sent), sent)


@pytest.mark.parametrize("text", ["first/hello", "first/Hello+:?#[]@!$&'()*,;=", "first/é 日本"])
async def test_resource_in_a_path_comes_back(service: tuple[Running, Echo], text: str) -> None:
    sent = repeated({"f_string": text, "f_child": {"f_string": text.replace("first", "second")}, "f_bool": True})
    for method in ("RepeatPathResource", "RepeatPathTrailingResource"):
        assert_same(*await call_as_client(service, method, sent), sent)
    other = repeated({"f_string": "second/zzz", "f_child": {"f_string": "first/x"}, "f_bool": True})
    assert_same(*await call_as_client(service, "RepeatPathResource", other), other)
    deep = repeated({"f_string": text, "f_child": {"f_string": "second/a/b:c/d"}})
    assert_same(*await call_as_client(service, "RepeatPathTrailingResource", deep), deep)


async def test_enums_come_as_numbers_where_asked_for(service: tuple[Running, Echo]) -> None:
    sent = repeated({"f_kingdom": "ANIMALS", "r_kingdom": ["ARCHAEA", "BACTERIA"]})
    answer, _ = await call_as_client(service, "RepeatBody", sent, numeric=True)
    assert (answer.json["info"]["f_kingdom"], answer.json["info"]["r_kingdom"]) == (7, [1, 2])
    answer, _ = await call_as_client(service, "RepeatBody", sent, numeric=False)
    assert (answer.json["info"]["f_kingdom"], answer.json["info"]["r_kingdom"]) == ("ANIMALS", ["ARCHAEA", "BACTERIA"])


async def test_unknown_enum_number_is_kept_in_a_body(service: tuple[Running, Echo]) -> None:
    """And an open enum's number comes back as a number, whatever is asked for."""
    running, echo = service
    answer = await running.send("POST", "/v1beta1/repeat:body", body={"info": {"f_kingdom": 321}})
    assert (answer.json["info"]["f_kingdom"], echo.last().info.f_kingdom) == (321, 321)


async def test_enum_is_verified_as_clients_send_it(service: tuple[Running, Echo]) -> None:
    running, echo = service
    answer = await running.send("POST", "/v1beta1/compliance/enum?request.unknown=true&kingdom=7&$alt=json")
    assert (answer.status, echo.last().kingdom, echo.last().request.unknown) == (200, 7, True)
    assert (await running.get("/v1beta1/compliance/enum?unknown=true")).status == 200
    assert echo.last().unknown


@pytest.mark.parametrize(
    "query",
    [
        "$alt=json;enum-encoding=int",
        "%24alt=json%3Benum-encoding%3Dint",
        "$alt=json%3benum-encoding=int",
        "alt=json;enum-encoding=int",
        "$.xgafv=2&$alt=json;enum-encoding=int&$prettyPrint=false",
        "prettyPrint=true&%24alt=json;enum-encoding=int",
    ],
)
@pytest.mark.parametrize("target", ["/v1beta1/repeat:body", "/v1beta1/repeat:bodyinfo", "/v1beta1/repeat:query"])
async def test_system_parameters_are_no_fields(service: tuple[Running, Echo], target: str, query: str) -> None:
    running, _ = service
    if target.endswith("query"):
        answer = await running.get(f"{target}?info.fKingdom=2&{query}")
    else:
        kingdom = {"f_kingdom": 2} if target.endswith("info") else {"info": {"f_kingdom": 2}}
        answer = await running.send("POST", f"{target}?{query}", body=kingdom)
    assert answer.status == 200, answer.body
    assert answer.json["info"]["f_kingdom"] == 2
    assert (b"\n" in answer.body) == ("prettyPrint=true" in query)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("$alt=proto", "$alt"),
        ("alt=media", "alt"),
        ("$alt=json;enum-encoding=name", "$alt"),
        ("$alt=json&%24alt=json", "$alt"),
        ("$prettyPrint=1", "$prettyPrint"),
        ("$.xgafv=1", "$.xgafv"),
        ("$alt=sse", "$alt"),
        ("alt=sse;enum-encoding=int", "alt"),
        ("$fields=nope", "$fields"),
        ("fields=info(nope)", "fields"),
        ("key=secret", "key"),
        ("access_token=secret", "access_token"),
        ("$key=secret", "$key"),
        ("$callback=f", "$callback"),
        ("%24userProject=p", "$userProject"),
        ("callback=f", "callback"),
    ],
)
async def test_system_parameter_that_is_not_served_is_refused(
    service: tuple[Running, Echo], query: str, name: str
) -> None:
    answer = await service[0].get(f"/v1beta1/repeat:query?{query}")
    assert answer.status == 400
    assert list(answer.violations) == [name]


async def test_system_parameters_can_be_switched_off() -> None:
    async with echoing(compliance_pool(), [SERVICE], GatewayConfig(system_parameters=False)) as (running, _):
        answer = await running.get("/v1beta1/repeat:query?$alt=json;enum-encoding=int")
        assert answer.violations.keys() == {"$alt"}


async def test_bool_of_a_path_is_spelt_as_in_python_too(service: tuple[Running, Echo]) -> None:
    """As Google's clients for Python have it; in a query it is true or false."""
    running, echo = service
    for text, value in (("True", True), ("False", False), ("true", True)):
        assert (await running.get(f"/v1beta1/repeat/x/1/1/{text}/0:simplepath")).status == 200
        assert echo.last().info.f_bool is value
    for text in ("TRUE", "1", "t", "yes"):
        assert (await running.get(f"/v1beta1/repeat/x/1/1/{text}/0:simplepath")).status == 400
    assert (await running.get("/v1beta1/repeat:query?info.f_bool=True")).status == 400

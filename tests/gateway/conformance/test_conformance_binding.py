"""Whatever message Google's client library can put into a request, the gateway gets out of it again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.compliance import SERVICE, call_as_client, compliance_message, compliance_pool
from tests.support.echoing import Echo, echoing
from tests.support.proto_strategies import messages
from tests.support.transcoding_client import Running

REPEATED: Final = compliance_pool().FindMessageTypeByName("compliancetest.Repeated")
FREE: Final = ["RepeatBody", "RepeatBodyInfo", "RepeatQuery", "RepeatBodyPut", "RepeatBodyPatch"]


class Served:
    """The service behind a gateway, for tests that are no coroutines, which Hypothesis wants."""

    def __init__(self, runner: asyncio.Runner, service: tuple[Running, Echo]) -> None:
        self._runner = runner
        self._service = service

    def call(self, method: str, request: Any, *, numeric: bool) -> Any:
        """What the service gets."""
        return self._runner.run(call_as_client(self._service, method, request, numeric=numeric))[1]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        service = runner.run(stack.enter_async_context(echoing(compliance_pool(), [SERVICE])))
        yield Served(runner, service)
        runner.run(stack.aclose())


def said(message: Any) -> bytes:
    """What a request can say of a message: no query says that a message is there and holds nothing."""
    copy = type(message)()
    copy.CopyFrom(message)
    _prune(copy)
    return bytes(copy.SerializeToString(deterministic=True))


def _prune(message: Any) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.file.package == "compliancetest":
            _prune(value)
            if not value.ListFields():
                message.ClearField(field.name)


@pytest.mark.parametrize("method", FREE)
@given(request_=messages(REPEATED, depth=4), numeric=st.booleans())
@settings(max_examples=60, deadline=None)
def test_message_is_bound_again(served: Served, method: str, request_: Any, *, numeric: bool) -> None:
    if method == "RepeatQuery":
        assume(_enums_are_known(request_))
    assert said(served.call(method, request_, numeric=numeric)) == said(request_)


def _enums_are_known(message: Any) -> bool:
    """A number that the enum does not have is taken in a body alone."""
    for field, value in message.ListFields():
        numbers = value if field.is_repeated else [value]
        if field.enum_type is not None and not set(numbers) <= set(field.enum_type.values_by_number):
            return False
        if field.message_type is not None and not all(map(_enums_are_known, numbers)):
            return False
    return True


_SEGMENTS: Final = st.text(min_size=1, max_size=8).filter(lambda text: "/" not in text and text not in (".", ".."))


@given(
    name=_SEGMENTS,
    number=st.integers(-(2**31), 2**31 - 1),
    double=st.floats(allow_nan=False, allow_infinity=False),
    flag=st.booleans(),
    rest=messages(REPEATED, depth=3),
)
@settings(max_examples=100, deadline=None)
def test_path_is_bound_again(
    served: Served,
    name: str,
    number: int,
    double: float,
    flag: bool,
    rest: Any,
) -> None:
    assume(_enums_are_known(rest))
    rest.info.f_string, rest.info.f_int32, rest.info.f_double, rest.info.f_bool = name, number, double, flag
    assert said(served.call("RepeatSimplePath", rest, numeric=True)) == said(rest)


@given(first=_SEGMENTS, rest=st.lists(_SEGMENTS, min_size=1, max_size=4).map("/".join))
@settings(max_examples=100, deadline=None)
def test_resource_is_bound_again(served: Served, first: str, rest: str) -> None:
    request = compliance_message("Repeated")(
        info={"f_string": f"first/{first}", "f_child": {"f_string": f"second/{rest}"}}
    )
    assert said(served.call("RepeatPathTrailingResource", request, numeric=True)) == said(request)

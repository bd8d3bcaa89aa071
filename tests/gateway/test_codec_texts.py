"""JSON that is kept and put together again is the JSON that printing the whole gives, whatever the bytes."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import struct_pb2
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from orchestration.gateway.codec import Codec, CodecError, MessageCodec
from orchestration.gateway.listing import ListShape, list_shape
from orchestration.gateway.schema import collect_files
from orchestration.gateway.textcache import LastText, TextCache
from orchestration.v1 import model_deployments_pb2 as pb
from orchestration.v1 import model_registry_pb2 as models_pb

CODEC = Codec(collect_files([pb.DESCRIPTOR, models_pb.DESCRIPTOR]))
TRICKY = st.text(max_size=12) | st.sampled_from(['"models":[]', "models", "[]", '"', "\\", "\u2028"])


def codec_of(message: Message) -> MessageCodec:
    return CODEC.message(message.DESCRIPTOR.full_name)


def shape_of(message: Message) -> ListShape | None:
    descriptor: Any = message.DESCRIPTOR
    return list_shape(descriptor)


def as_list(message: Message, wire: bytes) -> bytes:
    shape = shape_of(message)
    assert shape is not None
    return codec_of(message).decode_list(wire, shape, CODEC.message(shape.element))


@st.composite
def lists(draw: st.DrawFn) -> models_pb.ListModelsResponse:
    names = draw(st.lists(TRICKY, max_size=5))
    models = [models_pb.Model(model_name=name, model_version=draw(TRICKY), labels={"a": name}) for name in names]
    token, total = draw(TRICKY), draw(st.integers(0, 2**31 - 1))
    return models_pb.ListModelsResponse(models=models, next_page_token=token, total_size=total)


@given(lists())
def test_a_list_is_what_printing_it_whole_gives(message: models_pb.ListModelsResponse) -> None:
    wire = message.SerializeToString()
    assert as_list(message, wire).decode() == codec_of(message).decode(wire)


@given(lists(), lists())
def test_elements_may_stand_anywhere_on_the_wire(
    one: models_pb.ListModelsResponse, other: models_pb.ListModelsResponse
) -> None:
    wire = one.SerializeToString() + other.SerializeToString()
    assert as_list(one, wire).decode() == codec_of(one).decode(wire)


def test_fields_that_are_not_known_are_passed_over() -> None:
    message = models_pb.ListModelsResponse(models=[models_pb.Model(model_name="m")], total_size=1)
    unknown = b"\xa0\x06\x96\x01" + b"\xa1\x06" + bytes(8) + b"\xa2\x06\x02hi" + b"\xa5\x06" + bytes(4)
    wire = unknown + message.SerializeToString() + unknown
    assert as_list(message, wire).decode() == codec_of(message).decode(message.SerializeToString())


def test_groups_that_are_not_known_are_passed_over() -> None:
    message = models_pb.ListModelsResponse(models=[models_pb.Model(model_name="m")], total_size=1)
    wire = message.SerializeToString() + b"\x9b\x06\x08\x01\x9c\x06"
    assert as_list(message, wire).decode() == codec_of(message).decode(message.SerializeToString())


@pytest.mark.parametrize(
    "wire", [b"\x0a", b"\x0a\x05ab", b"\x0a\x02\xff\xff", b"\x80", b"\x0b", b"\x0a" + b"\xff" * 11, b"\xa1\x06\x00"]
)
def test_what_is_no_message_is_told_apart(wire: bytes) -> None:
    with pytest.raises(CodecError):
        as_list(models_pb.ListModelsResponse(), wire)


def test_what_is_no_plain_list_has_no_shape() -> None:
    assert shape_of(pb.Deployment()) is None  # several messages
    assert shape_of(pb.GetDeploymentRequest()) is None  # none
    assert shape_of(pb.DeployModelResponse()) is not None
    assert shape_of(struct_pb2.ListValue()) is None  # its JSON is the array alone


def test_no_element_is_lost_where_its_place_is_not_found() -> None:
    shape = ListShape("google.protobuf.Value", 0x0A, b'"values":[]')
    wire = struct_pb2.ListValue(values=[struct_pb2.Value(bool_value=True)]).SerializeToString()
    codec = Codec(collect_files([struct_pb2.DESCRIPTOR]))
    with pytest.raises(CodecError):
        codec.message("google.protobuf.ListValue").decode_list(wire, shape, codec.message("google.protobuf.Value"))


def test_a_text_is_made_once_while_there_is_room() -> None:
    cache = TextCache(max_bytes=3000)
    made: list[bytes] = []

    def make(wire: bytes) -> bytes:
        made.append(wire)
        return wire * 2

    for wire in (b"a", b"b", b"a"):
        assert cache.get(0, wire, make) == wire * 2
    assert made == [b"a", b"b"]
    assert cache.get(1, b"a", make) == b"aa", "another type's text is another"
    assert made == [b"a", b"b", b"a"]
    for number in range(50):
        cache.get(0, b"%d" % number, make)
        assert cache.size <= 3000
    cache.get(0, b"a", make)
    assert made[-1] == b"a", "the oldest went"


def test_one_that_is_long_is_not_kept() -> None:
    cache = TextCache()
    text = cache.get(0, b"x" * 70_000, lambda wire: wire)
    assert len(text) == 70_000
    assert cache.size == 0


def test_what_cannot_be_printed_is_not_kept() -> None:
    cache = TextCache()

    def fail(wire: bytes) -> bytes:
        raise CodecError("no")

    for _ in range(2):
        with pytest.raises(CodecError):
            cache.get(0, b"x", fail)
    assert cache.size == 0


def test_the_last_text_is_kept_until_another_message_comes() -> None:
    made: list[bytes] = []

    def make(wire: bytes) -> bytes:
        made.append(wire)
        return b"text of " + wire

    last = LastText()
    for wire in (b"", b"", b"a", b"a", b"", b"a"):
        assert last.get(wire, make) == b"text of " + wire
    assert made == [b"", b"a", b"", b"a"]
    made.clear()
    for _ in range(2):
        last.get(b"x" * 2_000_000, make)
    assert len(made) == 2, "a large one is not kept"


def test_a_text_that_cannot_be_made_is_not_kept() -> None:
    def fail(_: bytes) -> bytes:
        raise ValueError("no message")

    last = LastText()
    last.get(b"a", lambda _: b"A")
    with pytest.raises(ValueError, match="no message"):
        last.get(b"b", fail)
    assert last.get(b"a", fail) == b"A"
    assert last.get(b"b", lambda _: b"B") == b"B"

"""Answers that have no JSON form are errors of the service, told as errors are."""

from __future__ import annotations

import pytest
from google.protobuf import field_mask_pb2

from orchestration.gateway.codec import Codec, CodecError
from orchestration.gateway.schema import collect_files


@pytest.mark.parametrize("path", ["a__b", "/+[_g", "aB"])
def test_a_mask_without_a_json_form_is_a_codec_error(path: str) -> None:
    codec = Codec(collect_files([field_mask_pb2.DESCRIPTOR])).message("google.protobuf.FieldMask")
    with pytest.raises(CodecError):
        codec.decode(field_mask_pb2.FieldMask(paths=[path]).SerializeToString())

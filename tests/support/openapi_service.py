"""A service whose fields have rules, behaviours and comments: what its OpenAPI document is made of."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

from buf.validate import validate_pb2
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from orchestration.gateway import ChannelUpstream, Gateway, GatewayConfig
from orchestration.gateway.schema import collect_files
from tests.support.transcoding_service import TESTDATA

_FILE = "openapi_service.proto"


@functools.cache
def library_descriptors(*, comments: bool = True) -> FileDescriptorSet:
    """Its descriptors, with or without the comments of its proto."""
    with tempfile.TemporaryDirectory() as folder:
        target, rules = Path(folder, "set.binpb"), Path(folder, "rules.binpb")
        rules.write_bytes(collect_files([validate_pb2.DESCRIPTOR]).SerializeToString())
        includes = [
            f"-I{TESTDATA}",
            f"-I{Path(str(annotations_pb2.__file__)).parents[2]}",
            f"-I{files('grpc_tools') / '_proto'}",
        ]
        flags = [f"--descriptor_set_in={rules}", "--include_imports", f"--descriptor_set_out={target}"]
        flags += ["--include_source_info"] if comments else []
        command = [sys.executable, "-m", "grpc_tools.protoc", *includes, *flags, _FILE]
        made = subprocess.run(command, check=False, capture_output=True)
        assert made.returncode == 0, made.stderr
        return FileDescriptorSet.FromString(target.read_bytes())


async def library_document(config: GatewayConfig | None = None, *, comments: bool = True) -> dict[str, Any]:
    """The document of a gateway in front of it; nothing is called, so that nothing need listen."""
    upstream = ChannelUpstream("127.0.0.1:1", descriptor_set=library_descriptors(comments=comments))
    gateway = Gateway(upstream, ["openapitest.Library"], config)
    await gateway.start()
    try:
        return gateway.document()
    finally:
        await gateway.close()

"""What the OpenAPI document tells of this service beside its protos."""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from orchestration.gateway import OpenApiConfig

_DISTRIBUTION = "orchestration-gateway"
_DESCRIPTION = """\
A control plane for LLM inference on whatever GPUs you can get: models are registered, pools made, and
deployments kept true.

Every method has a path of its own below `/deployment` and `/inventory`, and one in the manner of resources below
`/v1`.
"""


def openapi_config() -> OpenApiConfig:
    """Title, version, comments and examples of the document."""
    comments = FileDescriptorSet.FromString(files("orchestration.v1").joinpath("descriptors.binpb").read_bytes())
    return OpenApiConfig(
        title="Orchestration Gateway",
        version=version(_DISTRIBUTION),
        description=_DESCRIPTION,
        comments=[comments],
    )

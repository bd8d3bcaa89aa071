"""What can be set on the OpenAPI document of a gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from google.protobuf.descriptor_pb2 import FileDescriptorSet

JsonObject = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class OpenApiConfig:
    """The document and its page. Raises ValueError, naming the field, for a value out of range."""

    enabled: bool = True
    """Whether there is a document at all."""
    docs: bool = True
    """Whether a page shows it."""
    title: str = ""
    """Empty: the names of the services."""
    version: str = "0"
    """Of the API, as its callers know it."""
    description: str = ""
    """CommonMark."""
    path: str = "/openapi.json"
    docs_path: str = "/docs"
    comments: Sequence[FileDescriptorSet] = ()
    """Descriptor sets made with ``protoc --include_source_info``. Generated code keeps no comments, and servers seldom
    tell them by reflection: without any of them the document has no descriptions."""
    authentication: Literal["none", "optional", "required"] = "optional"
    """Whether callers send ``Authorization: Bearer TOKEN``: never, where the service asks for it, or always."""
    idempotency_field: str = ""
    """The field that the service fills from the header ``Idempotency-Key``. It tells of the header, since both together
    must agree. Empty: the service reads the header itself, which is a parameter of all methods that change something.
    """
    text_pattern: str = ""
    """What every string of a request must match, map keys and google.protobuf.Struct included; empty: anything."""
    refinements: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """JSON Schema keywords for fields by their full names: what a service knows of its fields that no rule says, such
    as an example or the names that it accepts. They hold where a field stands in a request."""

    def __post_init__(self) -> None:
        for name in ("path", "docs_path"):
            value = getattr(self, name)
            if not value.startswith("/") or value.endswith("/") or "{" in value:
                raise ValueError(f"{name} must be a path such as /{name}, without a slash at its end, not {value!r}")

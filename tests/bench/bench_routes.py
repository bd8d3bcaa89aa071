"""An API of 15,000 routes: until it is ready, and until a path is matched; and the JSON of one request, both ways."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from typing import Any

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from protobuf import message_from_json_value
from protobuf.wkt import FileDescriptorSet as RuntimeDescriptorSet

from orchestration.gateway import Call, Gateway, Rpc
from orchestration.gateway.codec import Codec
from orchestration.gateway.gateway import split_target
from orchestration.gateway.jsontext import JsonReader
from orchestration.gateway.schema import collect_files
from orchestration.v1 import model_deployments_pb2 as pb
from tests.bench.measuring import in_turns
from tests.bench.results import Row, Target
from tests.bench.servers import Servers

_SERVICES, _METHODS = 1_500, 10
_ROUTES = _SERVICES * _METHODS
_ROUNDS = 5
_DEPLOY = {
    "model_name": "llama",
    "model_version": "v1",
    "pool_id": "01900000-0000-7000-8000-000000000000",
    "replicas": 2,
    "gpu_per_replica": 1,
    "engine": "vllm",
    "org_id": "acme",
    "owner_id": "ann",
    "configuration": {"max_model_len": 8192},
    "env": {"HF_HOME": "/models"},
    "labels": {"team": "search"},
}


async def rows(_: Servers) -> list[Row]:
    """Start, match, and JSON, each beside what does part of its work."""
    return [*await _routes(), *await _json()]


class _Nowhere:
    """An upstream whose methods are never called."""

    def __init__(self, files: FileDescriptorSet, names: list[str]) -> None:
        self._files = files
        self._names = names

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def descriptors(self) -> FileDescriptorSet:
        return self._files

    def services(self) -> list[str]:
        return self._names

    async def bind(self, method: MethodDescriptor) -> Rpc:
        return _Never()


class _Never:
    async def unary(self, request: bytes, call: Call) -> bytes:
        raise NotImplementedError

    def stream(self, requests: AsyncIterator[bytes], call: Call) -> AsyncGenerator[bytes, None]:
        raise NotImplementedError


async def _routes() -> list[Row]:
    files, names = _api()
    gateway = Gateway(_Nowhere(files, names))

    async def start() -> float:
        nonlocal gateway
        before = time.process_time()
        gateway = Gateway(_Nowhere(files, names))
        await gateway.start()
        return time.process_time() - before

    async def parse() -> float:
        before = time.process_time()
        FileDescriptorSet.FromString(files.SerializeToString())
        return time.process_time() - before

    started = await in_turns(_ROUNDS, {"ours": start, "parse": parse})
    paths = [f"/v1/projects/p/locations/l/r{number}s/x" for number in range(0, _SERVICES, 7)]
    tree: Any = vars(gateway)["_table"].requests

    async def match() -> float:
        return _each(paths, lambda path: tree.find("GET", *split_target(path)[1:]))

    async def split() -> float:
        return _each(paths, split_target)

    matched = await in_turns(_ROUNDS, {"ours": match, "split": split})
    return [
        Row(
            figure=f"start with {_ROUTES:,} routes, CPU",
            value=started.median("ours"),
            unit="s",
            peer="parsing their descriptors",
            peer_value=started.median("parse"),
            ratio=started.ratio("ours", "parse"),
            target=Target("<=", 2.0, "value"),
        ),
        Row(
            figure=f"a path matched among {_ROUTES:,} routes, CPU",
            value=matched.median("ours"),
            unit="us",
            peer="splitting the path alone",
            peer_value=matched.median("split"),
            ratio=matched.ratio("ours", "split"),
            target=Target("<=", 3.0, "value"),
        ),
    ]


async def _json() -> list[Row]:
    """The gateway goes by wire bytes on the way, as handlers take and give them; the message between is half of it."""
    files = collect_files([pb.DESCRIPTOR])
    descriptor: Any = pb.DeployModelRequest.DESCRIPTOR
    codec, reader = Codec(files).message(descriptor.full_name), JsonReader(descriptor)
    registry = RuntimeDescriptorSet.from_binary(files.SerializeToString()).to_registry()
    found = registry.message(descriptor.full_name)
    assert found is not None
    body = json.dumps(_DEPLOY).encode()

    def parse_and_print(text: bytes) -> str:
        message = message_from_json_value(found.type, reader.read(text), registry=registry)
        return message.to_json(registry=registry, always_emit_implicit=True, use_proto_field_name=True)

    works: dict[str, Callable[[bytes], str]] = {
        "ours": parse_and_print,
        "wire": lambda text: codec.decode(codec.encode(reader.read(text))),
        "json": lambda text: json.dumps(json.loads(text)),
    }
    rounds = await in_turns(_ROUNDS, {name: partial(_each_later, [body] * 2_000, work) for name, work in works.items()})

    def row(name: str, figure: str, target: Target | None) -> Row:
        return Row(
            figure=figure,
            value=rounds.median(name),
            unit="us",
            peer="json.loads and json.dumps of it",
            peer_value=rounds.median("json"),
            ratio=rounds.ratio(name, "json"),
            target=target,
        )

    return [
        row("ours", "JSON of a deploy request parsed and printed, CPU", Target("<=", 10.0, "value")),
        row("wire", "the same by wire bytes, CPU", None),
    ]


async def _each_later(items: list[Any], work: Callable[[Any], object]) -> float:
    return _each(items, work)


def _each(items: list[Any], work: Callable[[Any], object]) -> float:
    """CPU microseconds for each item."""
    before = time.process_time()
    for item in items:
        work(item)
    return (time.process_time() - before) / len(items) * 1e6


def _api() -> tuple[FileDescriptorSet, list[str]]:
    """Services of the shape that Google's have: resources under projects and locations, and verbs on them."""
    file = FileDescriptorProto(name="generated.proto", package="generated", syntax="proto3")
    file.dependency.append("google/api/annotations.proto")
    message = file.message_type.add(name="Request")
    for number, name in enumerate(("name", "parent", "filter", "page_token"), 1):
        message.field.add(
            name=name, number=number, type=FieldDescriptorProto.TYPE_STRING, label=FieldDescriptorProto.LABEL_OPTIONAL
        )
    http: Any = annotations_pb2.http
    for number in range(_SERVICES):
        service = file.service.add(name=f"Service{number}")
        for index in range(_METHODS):
            method = service.method.add(
                name=f"Method{index}", input_type=".generated.Request", output_type=".generated.Request"
            )
            method.options.Extensions[http].CopyFrom(_rule(number, index))
    files = collect_files([annotations_pb2.DESCRIPTOR])
    files.file.append(file)
    return files, [f"generated.{service.name}" for service in file.service]


def _rule(number: int, index: int) -> http_pb2.HttpRule:
    resource = f"/v1/{{name=projects/*/locations/*/r{number}s/*}}"
    match index:
        case 0:
            return http_pb2.HttpRule(get=resource)
        case 1:
            return http_pb2.HttpRule(get=f"/v1/{{parent=projects/*/locations/*}}/r{number}s")
        case 2:
            return http_pb2.HttpRule(delete=resource)
        case _:
            return http_pb2.HttpRule(post=f"{resource}:verb{index}", body="*")

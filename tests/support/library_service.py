"""A small service with etags, pages and metadata, made of its proto at run time: what REST adds to plain calls."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool

from orchestration.gateway import ChannelUpstream, Gateway, GatewayConfig, InProcessUpstream, Upstream
from tests.support.transcoding_client import Running, Transport, listening
from tests.support.transcoding_service import Handlers, compile_protos

SERVICE = "library.v1.Library"
PROTO = """
syntax = "proto3";
package library.v1;
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";

message Book {
  string name = 1;
  string title = 2;
  google.protobuf.Struct notes = 3;
  string etag = 4;
  string text = 5;
}
message Draft {  // its etag is printed before what may hold a key of the same name
  string etag = 1;
  google.protobuf.Struct notes = 2;
}
message GetBookRequest { string name = 1; }
message GetDraftRequest { string name = 1; }
message ListBooksRequest {
  int32 page_size = 1;
  string page_token = 2;
  string filter = 3;
}
message ListBooksResponse {
  repeated Book books = 1;
  string next_page_token = 2;
}
message UpdateBookRequest { Book book = 1; }
message DeleteBookRequest { string name = 1; string etag = 2; int32 force = 3; }
message MetadataRequest {
  map<string, string> initial = 1;
  map<string, string> trailing = 2;
  map<string, bytes> binary = 3;
  int32 code = 4;
}
message Text { string text = 1; }

service Library {
  rpc GetBook(GetBookRequest) returns (Book) {
    option (google.api.http) = { get: "/v1/books/{name}" };
  }
  rpc GetDraft(GetDraftRequest) returns (Draft) {
    option (google.api.http) = { get: "/v1/drafts/{name}" };
  }
  rpc ListBooks(ListBooksRequest) returns (ListBooksResponse) {
    option (google.api.http) = {
      get: "/v1/books"
      additional_bindings { post: "/v1/books:list" body: "*" }
      additional_bindings { get: "/v1/pages/{page_token}" }
    };
  }
  rpc UpdateBook(UpdateBookRequest) returns (Book) {
    option (google.api.http) = {
      patch: "/v1/books/{book.name}" body: "book"
      additional_bindings { put: "/v1/whole/{book.name}" body: "*" }
    };
  }
  rpc DeleteBook(DeleteBookRequest) returns (DeleteBookRequest) {
    option (google.api.http) = { delete: "/v1/books/{name}" };
  }
  rpc Metadata(MetadataRequest) returns (Text) {
    option (google.api.http) = { post: "/v1/metadata" body: "*" };
  }
  rpc Repeat(Text) returns (Text) {
    option (google.api.http) = {
      post: "/v1/text" body: "*"
      additional_bindings { get: "/v1/text" }
    };
  }
}
"""


@functools.cache
def descriptors() -> DescriptorPool:
    """The service's descriptors."""
    made = DescriptorPool()
    for file in compile_protos(("library.proto", PROTO)).file:
        made.Add(file)
    return made


def message(name: str) -> Any:
    """The class of a message of the service."""
    return message_factory.GetMessageClass(descriptors().FindMessageTypeByName(f"library.v1.{name}"))


def message_handler(call: Callable[[Any, Any], Any], read: Callable[[bytes], Any]) -> Any:
    """A method without streams, as generated code makes them."""

    def write(reply: Any) -> bytes:
        return bytes(reply.SerializeToString())

    return grpc.unary_unary_rpc_method_handler(call, request_deserializer=read, response_serializer=write)


class Library:
    """What the service does: it gives what `books` and `tokens` hold, and keeps what it was asked."""

    def __init__(self) -> None:
        self.book: dict[str, Any] = {"title": "Emma", "etag": "v1"}
        """Fields of every book."""
        self.next_page_token = ""
        self.asked: list[Any] = []

    def register(self, server: Any) -> None:
        """Add the service to a server."""
        service = descriptors().FindServiceByName(SERVICE)
        handlers = {method.name: self._handler(method) for method in service.methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    def _handler(self, method: Any) -> Any:
        behave: Callable[[Any, Any], Any] = getattr(self, "on_" + method.name.lower())

        async def call(request: Any, context: Any) -> Any:
            self.asked.append(request)
            return await behave(request, context)

        return message_handler(call, message_factory.GetMessageClass(method.input_type).FromString)

    async def on_getbook(self, request: Any, context: Any) -> Any:
        return message("Book")(name=request.name, **self.book)

    async def on_getdraft(self, request: Any, context: Any) -> Any:
        return message("Draft")(etag="d1", notes={"etag": "of the notes"})

    async def on_listbooks(self, request: Any, context: Any) -> Any:
        return message("ListBooksResponse")(books=[self.book], next_page_token=self.next_page_token)

    async def on_updatebook(self, request: Any, context: Any) -> Any:
        return request.book

    async def on_deletebook(self, request: Any, context: Any) -> Any:
        return request

    async def on_repeat(self, request: Any, context: Any) -> Any:
        return request

    async def on_metadata(self, request: Any, context: Any) -> Any:
        await context.send_initial_metadata((*request.initial.items(), *request.binary.items()))
        context.set_trailing_metadata(tuple(request.trailing.items()))
        if request.code:
            code = next(code for code in grpc.StatusCode if code.value[0] == request.code)
            await context.abort(code, "as asked", tuple(request.trailing.items()))
        return message("Text")(text="x")


@dataclass
class Lending(Running):
    """A gateway in front of the library."""

    library: Library


@asynccontextmanager
async def lending(transport: Transport = "in_process", config: GatewayConfig | None = None) -> AsyncGenerator[Lending]:
    """The library behind a gateway, over either transport."""
    library = Library()
    async with AsyncExitStack() as stack:
        upstream: Upstream
        if transport == "in_process":
            upstream = InProcessUpstream([library.register], (), descriptors())
        else:
            server = grpc.aio.server()
            library.register(server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            stack.push_async_callback(server.stop, 0)
            upstream = ChannelUpstream(f"127.0.0.1:{port}", descriptor_set=compile_protos(("library.proto", PROTO)))
        gateway = Gateway(upstream, [SERVICE], config)
        await gateway.start()
        base = await stack.enter_async_context(listening(gateway))
        session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        session.headers.pop("Accept-Encoding", None)
        yield Lending(base, gateway, Handlers(), session, library)

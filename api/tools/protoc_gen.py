"""A protoc plugin that runs one of the generators built into ``grpc_tools.protoc``.

``buf generate`` starts plugins as programs of their own, and the Python generators exist only inside ``protoc``; this
hands the request over and gives the files back. Usage in buf.gen.yaml:
``local: [python, api/tools/protoc_gen.py, NAME]`` with NAME one of ``python``, ``pyi``, ``grpc_python``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import FileDescriptorSet


def generate(generator: str, request: CodeGeneratorRequest) -> CodeGeneratorResponse:
    """Run the generator on the request's files. Raises `subprocess.CalledProcessError` when protoc refuses them."""
    response = CodeGeneratorResponse(supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL)
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "image.binpb")
        out = Path(folder, "out")
        out.mkdir()
        image.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
        command = [sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={image}"]
        subprocess.run([*command, f"--{generator}_out={out}", *request.file_to_generate], check=True)
        for path in sorted(path for path in out.rglob("*") if path.is_file()):
            if path.name.endswith("_grpc.py") and "add_" not in path.read_text("utf-8"):
                continue  # a file without a service has nothing for grpc
            response.file.add(name=path.relative_to(out).as_posix(), content=path.read_text("utf-8"))
    return response


if __name__ == "__main__":
    reply = generate(sys.argv[1], CodeGeneratorRequest.FromString(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(reply.SerializeToString())

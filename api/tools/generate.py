"""Build the image of the protos, generate their Python code, and keep their comments, without a network.

The protos of others are not copied into the tree: google/api ships inside googleapis-common-protos, and the descriptor
of buf/validate inside protovalidate. Usage: ``python api/tools/generate.py [OUTPUT]``; OUTPUT defaults to ``api``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from protobuf import DescFile
from protobuf.wkt import FileDescriptorProto, FileDescriptorSet
from protovalidate._gen.buf.validate import validate_pb  # protovalidate has no public name for its own descriptor

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
OWN = "orchestration/v1/"


def _collect(file: DescFile, into: dict[str, FileDescriptorProto]) -> None:
    for dependency in file.dependencies:
        _collect(dependency, into)
    into.setdefault(file.name, file.proto)


def build_image() -> Path:
    """Compile the protos with all they import into ``build/api.binpb``, comments included, and return its path."""
    BUILD.mkdir(exist_ok=True)
    files: dict[str, FileDescriptorProto] = {}
    _collect(validate_pb.desc(), files)
    rules = BUILD / "validate.binpb"
    rules.write_bytes(FileDescriptorSet(file=list(files.values())).to_binary())
    image = BUILD / "api.binpb"
    protos = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "api/orchestration/v1").glob("*.proto"))
    includes = ["-Iapi", f"-I{sysconfig.get_path('purelib')}", f"--descriptor_set_in={rules}"]
    flags = ["--include_imports", "--include_source_info", "-o", str(image)]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *includes, *flags, *protos], check=True, cwd=ROOT)
    return image


def write_comments(image: Path, output: Path) -> None:
    """Write the descriptors of our own protos with their comments, which the generated code does not keep."""
    own = [file for file in FileDescriptorSet.from_binary(image.read_bytes()).file if file.name.startswith(OWN)]
    for file in own:
        assert file.source_code_info is not None
        commented = [each for each in file.source_code_info.location if each.leading_comments or each.trailing_comments]
        for location in commented:
            location.span.clear()
            location.leading_detached_comments.clear()
        file.source_code_info.location[:] = commented
    target = output / OWN / "descriptors.binpb"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(FileDescriptorSet(file=own).to_binary())


def generate(output: Path) -> None:
    """Write code and comments below `output`. Raises `subprocess.CalledProcessError` when a proto is wrong."""
    image = build_image()
    scripts = sysconfig.get_path("scripts")
    # The plugins of buf.gen.yaml are started as `python`: it must be this one, which has grpc_tools.
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [str(Path(scripts, "buf")), "generate", "--output", str(output)]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    write_comments(image, output / "api")


if __name__ == "__main__":
    generate(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT)

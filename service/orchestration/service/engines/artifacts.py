"""Where a model's files are: the forms an artifact URI may take, and how each engine is told of it."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Form(StrEnum):
    """What an artifact URI is, by its scheme."""

    HUB = "hub id"
    HF = "hf"
    S3 = "s3"
    GS = "gs"
    HTTPS = "https"
    OCI = "oci"
    OLLAMA = "ollama"
    PATH = "path"

    @property
    def example(self) -> str:
        """The form as a user would write it."""
        return _EXAMPLES[self]


_EXAMPLES = {
    Form.HUB: "org/name",
    Form.HF: "hf://org/name",
    Form.S3: "s3://bucket/key",
    Form.GS: "gs://bucket/key",
    Form.HTTPS: "https://host/file",
    Form.OCI: "oci://registry/repository:tag",
    Form.OLLAMA: "ollama://name:tag",
    Form.PATH: "file:///path or /path",
}
ACCEPTED = ", ".join(_EXAMPLES.values())
"""Every form, for error texts."""

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_HUB_ID = re.compile(rf"{_PART}(?:/{_PART})?(?::[A-Za-z0-9._-]+)?")
_FILE_SUFFIXES = (".gguf", ".safetensors", ".bin", ".pt", ".onnx")


def problem_with(uri: str) -> str:
    """What is wrong with an artifact URI and what would be right; empty when it is acceptable."""
    if not uri:
        return f"is empty; give one of {ACCEPTED}"
    if any(character.isspace() or character in "{}" or not character.isprintable() for character in uri):
        return f"{uri!r} holds a space, a brace or a control character; give one of {ACCEPTED}"
    scheme, separator, rest = uri.partition("://")
    if separator:
        return _problem_with_url(uri, scheme, rest)
    if uri.startswith("/"):
        return "" if uri.strip("/") else f"{uri!r} is the root directory; give the path of a model"
    if uri.lower().endswith(_FILE_SUFFIXES) or uri.startswith((".", "~")):
        return f"{uri!r} is a relative path; give the absolute one, such as /models/{uri.rsplit('/', 1)[-1]}"
    return "" if _HUB_ID.fullmatch(uri) else f"{uri!r} is no artifact URI; give one of {ACCEPTED}"


def form_of(uri: str) -> Form:
    """The form of an acceptable URI. Raises `ValueError` with `problem_with`'s sentence for any other."""
    problem = problem_with(uri)
    if problem:
        raise ValueError(problem)
    scheme, separator, _ = uri.partition("://")
    if separator:
        return Form.PATH if scheme.lower() == "file" else Form(scheme.lower())
    return Form.PATH if uri.startswith("/") else Form.HUB


def local_path(uri: str) -> Path | None:
    """The path that a ``file://`` URI or an absolute path names; None for anything else."""
    if uri.startswith("/"):
        return Path(uri)
    if uri.lower().startswith("file://"):
        return Path(unquote(urlsplit(uri).path))
    return None


def plain(uri: str) -> str:
    """An acceptable URI as most engines take it: a path without ``file://``, a hub id without ``hf://``."""
    path = local_path(uri)
    if path is not None:
        return str(path)
    return uri[len("hf://") :] if uri.lower().startswith("hf://") else uri


def model_argument(engine: str, uri: str) -> str:
    """An acceptable URI as the engine takes it: `plain`, but Ollama has names of its own for models of its library."""
    form = form_of(uri)
    if engine != "ollama":
        return plain(uri)
    if form is Form.HF:
        return "hf.co/" + plain(uri)
    return uri[len("ollama://") :] if form is Form.OLLAMA else uri


def tag_of(uri: str) -> str:
    """What follows the colon of a hub id: a quantisation for llama.cpp, a tag for Ollama; empty when there is none."""
    return plain(uri).partition(":")[2] if form_of(uri) in {Form.HUB, Form.HF} else ""


def _problem_with_url(uri: str, scheme: str, rest: str) -> str:
    kind = scheme.lower()
    if kind == "file":
        if urlsplit(uri).netloc not in {"", "localhost"} or not urlsplit(uri).path.strip("/"):
            return f"{uri!r} names no file of this machine; write file:///path with three slashes"
        return ""
    if kind not in {"hf", "s3", "gs", "https", "oci", "ollama"}:
        return f"{uri!r} has the scheme {scheme}://, which is not known; give one of {ACCEPTED}"
    if kind in {"hf", "ollama"}:
        pattern = _HUB_ID if kind == "hf" else _OLLAMA_NAME
        return "" if pattern.fullmatch(rest) else f"{uri!r} does not look like {Form(kind).example}"
    host, _, key = rest.partition("/")
    return "" if host and key.strip("/") else f"{uri!r} does not look like {Form(kind).example}"


_OLLAMA_NAME = re.compile(rf"{_PART}(?:/{_PART}){{0,2}}(?::[A-Za-z0-9._-]+)?")

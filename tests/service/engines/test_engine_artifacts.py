"""Forms of artifact URIs, the paths they name, and what engines are told."""

import re
from pathlib import Path

import pytest

from orchestration.service.engines.artifacts import Form, form_of, local_path, model_argument, problem_with, tag_of

GOOD = [
    ("org/name", Form.HUB),
    ("gpt2", Form.HUB),
    ("llama3.2:1b", Form.HUB),
    ("org/name-GGUF:Q4_K_M", Form.HUB),
    ("hf://org/name", Form.HF),
    ("s3://bucket/models/x", Form.S3),
    ("gs://bucket/x", Form.GS),
    ("https://host:8443/x.gguf?sign=1", Form.HTTPS),
    ("oci://registry:5000/repository:tag", Form.OCI),
    ("ollama://llama3.2:1b", Form.OLLAMA),
    ("file:///models/x.gguf", Form.PATH),
    ("file://localhost/models/x.gguf", Form.PATH),
    ("/models/x.gguf", Form.PATH),
]
BAD = [
    ("", "is empty"),
    ("./x.gguf", "is a relative path; give the absolute one, such as /models/x.gguf"),
    ("models/x.gguf", "is a relative path"),
    ("~/x", "is a relative path"),
    ("a/b/c", "is no artifact URI"),
    ("org/", "is no artifact URI"),
    ("two words", "holds a space"),
    ("/models/{port}", "holds a space, a brace"),
    ("a\nb", "control character"),
    ("ftp://host/x", "scheme ftp://, which is not known"),
    ("http://host/x", "scheme http://, which is not known"),
    ("file://models/x", "write file:///path with three slashes"),
    ("file:///", "write file:///path with three slashes"),
    ("/", "is the root directory"),
    ("s3://bucket", "does not look like s3://bucket/key"),
    ("hf://a/b/c", "does not look like hf://org/name"),
    ("ollama://", "does not look like ollama://name:tag"),
]


@pytest.mark.parametrize(("uri", "form"), GOOD)
def test_form_of_an_acceptable_uri(uri: str, form: Form) -> None:
    assert problem_with(uri) == ""
    assert form_of(uri) is form


@pytest.mark.parametrize(("uri", "wanted"), BAD)
def test_problem_with_any_other(uri: str, wanted: str) -> None:
    assert wanted in problem_with(uri)
    with pytest.raises(ValueError, match=re.escape(wanted)):
        form_of(uri)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/models/x", Path("/models/x")),
        ("file:///models/my%20x", Path("/models/my x")),
        ("file://localhost/x", Path("/x")),
        ("org/name", None),
        ("https://host/x", None),
        ("", None),
    ],
)
def test_local_path(uri: str, path: Path | None) -> None:
    assert local_path(uri) == path


@pytest.mark.parametrize(
    ("engine", "uri", "argument"),
    [
        ("vllm", "hf://org/name", "org/name"),
        ("vllm", "file:///m/a%23b", "/m/a#b"),
        ("vllm", "s3://bucket/x", "s3://bucket/x"),
        ("ollama", "hf://org/name", "hf.co/org/name"),
        ("ollama", "ollama://llama3.2:1b", "llama3.2:1b"),
        ("ollama", "llama3.2", "llama3.2"),
    ],
)
def test_model_argument(engine: str, uri: str, argument: str) -> None:
    assert model_argument(engine, uri) == argument


def test_tags_belong_to_hub_ids_only() -> None:
    assert tag_of("hf://org/name:Q4") == "Q4"
    assert tag_of("org/name") == ""
    assert tag_of("https://host:1/x") == ""

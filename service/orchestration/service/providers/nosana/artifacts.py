"""Models that a host fetches itself: it keeps them for a day, so that the next replica there starts sooner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from orchestration.service.engines.artifacts import Form, form_of, tag_of
from orchestration.service.providers.base import InstanceSpec

_FOLDER = "/models"
_HUB_ENGINES = frozenset({"vllm", "sglang", "tgi", "tei", "infinity"})
"""Engines that take a folder wherever they take a repository of the hub."""
_BEFORE_MODEL = frozenset({"serve", "--model", "--model-path", "--model-id", "--model-repository"})
"""Words after which the engines' commands hold the model; elsewhere the same word may be a name that clients use."""
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(frozen=True, slots=True)
class ModelResource:
    """A model that the host fetches, and what the engine is told instead of its name."""

    resource: Mapping[str, Any]
    command: tuple[str, ...]
    model: str


def model_resource(spec: InstanceSpec) -> ModelResource | None:
    """What the host is to fetch for the spec; None where the engine loads its model itself."""
    if not spec.model:
        return None
    if spec.engine == "ollama":
        return _ollama(spec)
    form = form_of(spec.model)
    if form in (Form.HUB, Form.HF) and not tag_of(spec.model):
        return _from_hub(spec)
    return _from_s3(spec) if form is Form.S3 else None


def _ollama(spec: InstanceSpec) -> ModelResource | None:
    name = spec.model.removeprefix("ollama://")
    if name not in spec.command:  # one of the hub, which Ollama calls by another name
        return None
    return ModelResource({"type": "Ollama", "model": name}, spec.command, spec.model)


def _from_hub(spec: InstanceSpec) -> ModelResource | None:
    target = f"{_FOLDER}/{spec.model}"
    command = _replaced(spec, target) if spec.engine in _HUB_ENGINES else None
    if command is None and not _asks_for_model(spec):
        return None
    resource: dict[str, Any] = {"type": "HF", "repo": spec.model, "target": target}
    revision = _after(spec.command, "--revision")
    token = next((spec.env[name] for name in _TOKENS if spec.env.get(name)), "")
    if revision:
        resource["revision"] = revision
    if token:
        resource["accessToken"] = token
    return ModelResource(resource, command or spec.command, target)


def _from_s3(spec: InstanceSpec) -> ModelResource | None:
    target = f"{_FOLDER}/{spec.model.removeprefix('s3://').strip('/')}"
    command = _replaced(spec, target) if spec.engine == "triton" else None
    if command is None and not _asks_for_model(spec):
        return None  # the engine reads from S3 itself, or does not want the model at all
    resource: dict[str, Any] = {"type": "S3", "url": spec.model, "target": target}
    key, secret = spec.env.get("AWS_ACCESS_KEY_ID"), spec.env.get("AWS_SECRET_ACCESS_KEY")
    if key and secret:
        region = spec.env.get("AWS_REGION") or spec.env.get("AWS_DEFAULT_REGION") or "us-east-1"
        resource["IAM"] = {"REGION": region, "ACCESS_KEY_ID": key, "SECRET_ACCESS_KEY": secret}
    return ModelResource(resource, command or spec.command, target)


def _asks_for_model(spec: InstanceSpec) -> bool:
    """Whether a server of the user's own is told where the model is."""
    return spec.engine == "custom" and any("{model}" in word for word in (*spec.command, *spec.env.values()))


def _replaced(spec: InstanceSpec, target: str) -> tuple[str, ...] | None:
    """The command with the path in the model's place; None when it does not hold the model where it is known to be."""
    words = list(spec.command)
    for index in range(1, len(words)):
        if words[index] == spec.model and words[index - 1] in _BEFORE_MODEL:
            words[index] = target
            return tuple(words)
    return None


def _after(command: tuple[str, ...], flag: str) -> str:
    following = [word for previous, word in pairwise(command) if previous == flag]
    return following[-1] if following else ""

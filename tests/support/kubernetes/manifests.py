"""The manifests in docs/kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "kubernetes"


def load(name: str) -> list[dict[str, Any]]:
    """The objects in a file."""
    yaml = pytest.importorskip("yaml", reason="manifests are read by the extra `kubernetes`")
    return [item for item in yaml.safe_load_all((FOLDER / name).read_text()) if item]


def grants(*kinds: str, name: str = "rbac.yaml") -> set[tuple[str, str]]:
    """Verb and resource of everything that roles of these kinds grant."""
    rules = [rule for item in load(name) if item["kind"] in kinds for rule in item["rules"]]
    groups = {resource: rule["apiGroups"] for rule in rules for resource in rule["resources"]}
    sets = groups.pop("leaderworkersets", ["leaderworkerset.x-k8s.io"])
    assert (sets, all(of == [""] for of in groups.values())) == (["leaderworkerset.x-k8s.io"], True)
    return {(verb, resource) for rule in rules for verb in rule["verbs"] for resource in rule["resources"]}

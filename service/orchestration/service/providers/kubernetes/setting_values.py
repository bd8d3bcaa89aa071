"""How single settings of the kubernetes provider are written. Everything raises ValueError naming the setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestration.service.providers import setting_numbers

ENDPOINTS = ("service", "pod_ip", "node_port", "load_balancer")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True)
class Toleration:
    """A taint that replicas put up with; an empty value or effect stands for any."""

    key: str
    value: str = ""
    effect: str = ""

    def tolerates(self, taint: Mapping[str, str]) -> bool:
        """Whether a node's taint is meant."""
        return (
            self.key == taint.get("key", "")
            and self.value in {"", taint.get("value", "")}
            and self.effect in {"", taint.get("effect", "")}
        )


def number(values: Mapping[str, str], key: str, default: float = 0.0, *, minimum: float = 0.0) -> float:
    """A finite number that is not below the minimum."""
    return setting_numbers.number("kubernetes", values, key, default, minimum=minimum)


def switch(values: Mapping[str, str], key: str) -> bool:
    """True or false; false when it is not given."""
    return choice(values, key, ("true", "false"), "false") == "true"


def choice(values: Mapping[str, str], key: str, choices: tuple[str, ...], default: str) -> str:
    """One of the words."""
    value = values.get(key, default).lower()
    if value not in choices:
        raise ValueError(f"kubernetes provider: {key} is {value!r}; it can be {', '.join(choices)}")
    return value


def words(values: Mapping[str, str], key: str) -> tuple[str, ...]:
    """A list with commas."""
    return tuple(word.strip() for word in values.get(key, "").split(",") if word.strip())


def pairs(values: Mapping[str, str], key: str) -> dict[str, str]:
    """A list of ``key=value`` with commas."""
    found: dict[str, str] = {}
    for word in words(values, key):
        name, sign, value = word.partition("=")
        if not name or not sign:
            raise ValueError(f"kubernetes provider: {key} holds {word!r}; each entry is KEY=VALUE")
        found[name] = value
    return found


def tolerations(values: Mapping[str, str], gpu_resource: str) -> tuple[Toleration, ...]:
    """A list of ``key[=value][:effect]`` with commas; when it is not given, the taint that GPU nodes usually have."""
    found: list[Toleration] = []
    for word in words({"tolerations": gpu_resource, **values}, "tolerations"):
        taint, sign, effect = word.rpartition(":")
        key, _, value = (taint if sign else word).partition("=")
        if not key or (sign and effect not in _EFFECTS):
            text = f"tolerations holds {word!r}; each entry is KEY[=VALUE][:EFFECT] with {', '.join(_EFFECTS)}"
            raise ValueError(f"kubernetes provider: {text}")
        found.append(Toleration(key, value, effect if sign else ""))
    return tuple(found)

"""The gateway's configuration: read from flags, environment, file and defaults, checked whole, secrets never shown."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, cast

import pydantic_settings
from pydantic import PrivateAttr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from orchestration.service.settings_sections import (
    SECTIONS,
    AccessSettings,
    ControlSettings,
    ListenSettings,
    LogSettings,
    NodeSettings,
    ProviderSettings,
    StorageSettings,
)
from orchestration.service.settings_values import Sensitive

__all__ = ["SECTIONS", "Settings", "SettingsError", "load_settings"]

PREFIX = "ORCHESTRATION_"
OTHER_VARIABLES = frozenset(
    {
        "ORCHESTRATION_CONFIG",  # names the file
        "ORCHESTRATION_SERVER",  # is for the command line as a client, as is the key that it shows
        "ORCHESTRATION_API_KEY",
        # What marks engine processes, and so whatever one of them starts.
        "ORCHESTRATION_OWNER",
        "ORCHESTRATION_INSTANCE",
        "ORCHESTRATION_SUPERVISOR",
        "ORCHESTRATION_DEPLOYMENT_ID",
        "ORCHESTRATION_REPLICA_ID",
    }
)
"""Variables with the prefix that are no knobs."""

_TABLES = {"providers": '{"name": {"key": "value"}}', "api_keys": '{"name": "role digest"}'}
"""Knobs that are tables, and what they look like as JSON."""

_KEYS = "api_keys"
_NO_KEY = "holds no key, and without one everybody is let in; give one as `orchestration key` prints it"

_Layer = dict[str, tuple[object, str]]
"""Values of one source by knob, each with where it is from."""


class SettingsError(Exception):
    """The configuration is wrong; `problems` holds one sentence for each thing that is."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(
    ProviderSettings, NodeSettings, ControlSettings, LogSettings, StorageSettings, AccessSettings, ListenSettings
):
    """The gateway's configuration. Made directly it takes only what it is given; `load_settings` reads the sources."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )
    not_below: ClassVar[Mapping[str, str]] = {
        **ListenSettings.not_below,
        **ControlSettings.not_below,
        **NodeSettings.not_below,
        **ProviderSettings.not_below,
    }
    _sources: dict[str, str] = PrivateAttr(default_factory=dict[str, str])

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given: `load_settings` merges the sources itself, to know where each value is from."""
        return (init_settings,)

    def source_of(self, name: str) -> str:
        """Where the knob's value is from: a flag, a variable, a file, or "default"."""
        return self._sources.get(name, "default")

    def with_sources(self, sources: Mapping[str, str]) -> Settings:
        """Remember where values are from; for `load_settings`."""
        self._sources.update(sources)
        return self

    def public_dump(self) -> dict[str, object]:
        """Every knob with its value as JSON, in the documented order, secrets masked."""
        dump = self.model_dump(mode="json")
        return {name: _shown(name, dump[name]) for section in SECTIONS for name in section.model_fields}


def load_settings(flags: Mapping[str, object] | None = None, *, config: Path | None = None) -> Settings:
    """Read and check the configuration: flags before environment before file before defaults.

    ``flags`` holds values by knob; None means not given. ``config`` is the TOML file; without it the file is that of
    ORCHESTRATION_CONFIG, if set. Raises `SettingsError` with every problem of every source.
    """
    problems: list[str] = []
    merged: _Layer = {}
    for layer in (_file_layer(config, problems), _environment_layer(problems), _flag_layer(flags or {})):
        for name, (value, source) in layer.items():
            merged[name] = (_joined(merged[name][0], value) if name in merged else value, source)
    if _KEYS in merged and not merged[_KEYS][0]:
        problems.append(f"{_KEYS} (from {merged[_KEYS][1]}): {_NO_KEY}")
    settings = _checked(merged, problems)
    if settings is None or problems:
        raise SettingsError(tuple(problems))
    return settings.with_sources({name: source for name, (_, source) in merged.items()})


def _flag_layer(flags: Mapping[str, object]) -> _Layer:
    given = {name: value for name, value in flags.items() if value is not None}
    return {name: (value, f"--{name.replace('_', '-')}") for name, value in given.items()}


def _file_layer(config: Path | None, problems: list[str]) -> _Layer:
    name = os.environ.get("ORCHESTRATION_CONFIG", "")
    path = config or (Path(name) if name else None)
    if path is None:
        return {}
    if not path.is_file():
        problems.append(
            f"{path}: there is no such file, but {'--config' if config else 'ORCHESTRATION_CONFIG'} names it"
        )
        return {}
    try:
        data = TomlConfigSettingsSource(Settings, path)()
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{path}: cannot be read as TOML: {error}")
        return {}
    unknown = [key for key in data if key not in Settings.model_fields]
    problems.extend(f"{key} (from {path}): there is no such knob{_close(key)}" for key in unknown)
    return {key: (value, str(path)) for key, value in data.items() if key in Settings.model_fields}


def _environment_layer(problems: list[str]) -> _Layer:
    ours = [name for name in os.environ if name.startswith(PREFIX) and name not in OTHER_VARIABLES]
    for variable in ours:
        knob, nested, _ = variable.removeprefix(PREFIX).lower().partition("__")
        if knob not in Settings.model_fields or (nested and knob not in _TABLES):
            problems.append(f"{variable} (from the environment): there is no such knob{_close(knob, PREFIX)}")
        elif knob == _KEYS and not os.environ[variable].strip():
            problems.append(f"{variable} (from the environment): {_NO_KEY}")
    try:
        found: dict[str, object] = EnvSettingsSource(Settings)()
    except pydantic_settings.SettingsError as error:
        # Its message names the field that is no JSON, and nothing of the value.
        knob = next((name for name in _TABLES if f'"{name}"' in str(error)), "providers")
        problems.append(f"{knob} (from {PREFIX}{knob.upper()}): expected a JSON object like {_TABLES[knob]}")
        return {}
    return {name: (value, PREFIX + name.upper()) for name, value in found.items()}


def _close(name: str, prefix: str = "") -> str:
    near = difflib.get_close_matches(name.lower(), Settings.model_fields, n=3)
    spelled = [prefix + (knob.upper() if prefix else knob) for knob in near]
    return f"; did you mean {' or '.join(spelled)}?" if spelled else ""


def _joined(below: object, above: object) -> object:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    low, high = cast("dict[str, object]", below), cast("dict[str, object]", above)
    return low | {key: _joined(low[key], value) if key in low else value for key, value in high.items()}


def _checked(merged: _Layer, problems: list[str]) -> Settings | None:
    try:
        return Settings.model_validate({name: value for name, (value, _) in merged.items()})
    except ValidationError as error:
        # A default made out of another knob cannot be made when that knob is wrong: one problem, not two.
        details = [item for item in error.errors() if item["type"] != "default_factory_not_called"]
        problems.extend(_sentence(item, merged) for item in details)
        return None


def _sentence(item: ErrorDetails, merged: _Layer) -> str:
    name = str(item["loc"][0])
    path = ".".join(str(part) for part in item["loc"])
    source = merged[name][1] if name in merged else "default"
    shown = _shown(name, item["input"])
    return f"{path} = {shown!r} (from {source}): {item['msg'].removeprefix('Value error, ')}"


def _shown(name: str, value: object) -> object:
    notes = Settings.model_fields[name].metadata if name in Settings.model_fields else []
    return next((note.show(value) for note in notes if isinstance(note, Sensitive)), value)

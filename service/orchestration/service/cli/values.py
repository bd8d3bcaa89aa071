"""Values given on the command line: KEY=VALUE pairs and JSON objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from orchestration.service.cli.errors import CliError, ExitCode


def pairs(option: str, given: Sequence[str] | None) -> dict[str, str]:
    """``KEY=VALUE`` strings as a dict. Raises `CliError` naming the option."""
    found: dict[str, str] = {}
    for item in given or ():
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise CliError(f'{option}: expected KEY=VALUE, got "{item}"', ExitCode.USAGE)
        found[key] = value
    return found


def configuration(text: str, settings: Sequence[str] | None) -> Struct:
    """The object of ``--configuration`` (JSON, or ``@file``) with each ``--set KEY=VALUE`` put over it."""
    merged = json_object("--configuration", text)
    for key, value in pairs("--set", settings).items():
        try:
            merged[key] = json.loads(value)
        except ValueError:
            merged[key] = value
    return ParseDict(merged, Struct())


def json_object(option: str, text: str) -> dict[str, object]:
    """A JSON object given as text or as ``@file``; empty text is an empty object. Raises `CliError`."""
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CliError(f"{option}: cannot read {text[1:]}: {error}", ExitCode.USAGE) from error
    try:
        value: object = json.loads(text or "{}")
    except ValueError as error:
        raise CliError(f"{option}: not JSON: {error}", ExitCode.USAGE) from error
    if not isinstance(value, dict):
        raise CliError(f'{option}: expected a JSON object such as {{"port": 8000}}', ExitCode.USAGE)
    return cast("dict[str, object]", value)

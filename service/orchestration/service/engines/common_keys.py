"""Configuration keys that every engine takes."""

from __future__ import annotations

from orchestration.service.engines.keys import Key

COMMON_KEYS = (
    Key(name="image", kind="string", about="Container image, for providers that run containers."),
    Key(
        name="command",
        kind="strings",
        about="Replaces the executable; the engine's arguments follow it. The whole command for `custom`.",
    ),
    Key(name="args", kind="strings", about="More arguments, after all others."),
    Key(name="port", kind="integer", minimum=1, maximum=65535, about="Port to listen on; any free one when absent."),
    Key(
        name="health_path",
        kind="string",
        may_be_empty=True,
        about="Begins with `/`; ready is a 2xx of it. Empty: ready when the port accepts a connection.",
    ),
    Key(
        name="startup_timeout_seconds",
        kind="number",
        above=0,
        maximum=86400,
        about="How long a replica may take to become ready.",
    ),
    Key(
        name="stop_grace_seconds",
        kind="number",
        minimum=0,
        maximum=3600,
        about="How long a replica may take to end after it was told to, before it is killed.",
    ),
    Key(name="env", kind="variables", about="Environment variables; the deployment's `env` wins over it."),
)

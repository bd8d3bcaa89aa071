"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("patient", parent=settings.default, deadline=None)
settings.load_profile("patient")

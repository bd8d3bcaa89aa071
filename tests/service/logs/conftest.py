"""A log store on a fresh folder."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from orchestration.service.logs.store import LogStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[LogStore]:
    opened = LogStore(tmp_path / "logs")
    yield opened
    await opened.close()

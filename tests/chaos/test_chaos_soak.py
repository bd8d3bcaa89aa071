"""The soak, short: the gateway is killed eight times while deployments come, change and go."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.chaos.soak import soak


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_nothing_accepted_is_lost_or_doubled_by_a_gateway_that_is_killed_all_the_time(tmp_path: Path) -> None:
    seed = int(time.time())
    print(f"seed {seed}")
    report = await soak(tmp_path, kills=8, seed=seed)
    assert not report.violations, "\n".join(report.violations)
    assert report.kills == 8
    assert report.accepts >= 8
    assert report.samples > 10
    assert report.log_lines > 0

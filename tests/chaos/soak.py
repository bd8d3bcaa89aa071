"""The soak: deployments come, change and go while the gateway is killed at random, again and again.

``python -m tests.chaos.soak --kills 50 --seed N`` prints a table and a line of JSON, and ends with 1 when anything that
was accepted was lost, anything was doubled, or anything was left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import aiohttp

from orchestration.service.settings import Settings
from tests.chaos.soak_checks import Checker, Findings
from tests.chaos.soak_driver import Driver
from tests.chaos.soak_engines import Sampler, engines
from tests.chaos.soak_gateway import DyingGateway
from tests.chaos.soak_ledger import Ledger
from tests.support.gateway import Rest, end_engines, eventually

_DRIVERS = 3
_SAMPLE_S = 0.2
_ENGINE_KILL_EVERY = 12
"""Samples between two engines that are killed."""
_SETTLE_S = 60.0
"""The reaper deletes what no row knows after its grace, in its next pass: 20 s at most."""
_PURGE_GRACE = "log_purge_grace_s"


@dataclass(slots=True)
class Report:
    """What came of a soak."""

    seed: int
    kills: int = 0
    accepts: int = 0
    accepts_by_kind: dict[str, int] = field(default_factory=dict[str, int])
    refusals: int = 0
    cut_off: int = 0
    kept: int = 0
    engine_kills: int = 0
    samples: int = 0
    log_lines: int = 0
    duplicates: int = 0
    orphans: int = 0
    lost: int = 0
    wrong_lines: int = 0
    faults: int = 0
    settle_s: float = 0.0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list[str])
    errors: list[str] = field(default_factory=list[str])
    """What gateways logged as errors: no violation by itself, and worth a look."""


async def soak(folder: Path, *, kills: int, seed: int, seconds: float = math.inf) -> Report:
    """Run it in a folder of its own; no kill begins after so many seconds."""
    began = time.monotonic()
    knobs = {_PURGE_GRACE: 1.0} if _PURGE_GRACE in Settings.model_fields else {}
    gateway = DyingGateway(folder / "data", seed, **knobs)
    ledger = Ledger()
    report = Report(seed)
    timeout = aiohttp.ClientTimeout(total=20)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await gateway.start()
            await _drive(gateway, ledger, session, report, kills, until=began + seconds)
            await _judge(gateway, ledger, session, report, log_folders=bool(knobs))
        await gateway.process.stop()
        gateway.note_errors()
    finally:
        await gateway.process.kill()
        end_engines(gateway.process.data_dir)
    report.kills = gateway.kills
    report.accepts = ledger.accepts.total()
    report.accepts_by_kind = dict(ledger.accepts)
    report.refusals, report.engine_kills = ledger.refusals, ledger.engine_kills
    report.cut_off, report.kept = ledger.unanswered, ledger.kept
    report.faults = len(ledger.faults)
    report.violations += ledger.faults
    report.errors = gateway.errors
    report.seconds = round(time.monotonic() - began, 1)
    return report


async def _drive(
    gateway: DyingGateway,
    ledger: Ledger,
    session: aiohttp.ClientSession,
    report: Report,
    kills: int,
    *,
    until: float,
) -> None:
    """Have callers ask and gateways die, until there were so many kills and every request was answered."""
    rest = Rest(session, await gateway.base())
    pool = {"pool_name": "soak", "owner_type": "user", "owner_id": "ann", "provider": "local"}
    policy = {"scheduling_policy_json": json.dumps({"max_replicas_per_node": 1000})}
    pool_id = (await rest.ok("POST", "/deployment/createpool", {**pool, **policy}))["pool_id"]
    stop = asyncio.Event()
    sampler = Sampler(gateway.process.data_dir / "orchestration.db", ledger, report.seed)
    names = [f"s{report.seed}-{number}" for number in range(_DRIVERS)]
    drivers = [Driver(name, report.seed, gateway, ledger, session, pool_id) for name in names]
    sampling = asyncio.create_task(_sample(sampler, stop))
    async with asyncio.TaskGroup() as group:
        for driver in drivers:
            group.create_task(driver.run(stop))
        while gateway.kills < kills and time.monotonic() < until:
            await gateway.kill_at_random(lambda: ledger.sent)
            await gateway.come_back(kills)
        stop.set()
    await sampling
    report.samples = sampler.samples
    report.duplicates += len(sampler.duplicates)
    report.violations += sorted(sampler.duplicates)


async def _sample(sampler: Sampler, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await asyncio.to_thread(sampler.sample)
        if sampler.samples % _ENGINE_KILL_EVERY == 0:
            await asyncio.to_thread(sampler.kill_one)
        await asyncio.sleep(_SAMPLE_S)


async def _judge(
    gateway: DyingGateway, ledger: Ledger, session: aiohttp.ClientSession, report: Report, *, log_folders: bool
) -> None:
    """Let it settle, note what is wrong then, and end everything."""
    rest = Rest(session, await gateway.base())
    checker = Checker(ledger, rest, gateway.process.data_dir, log_folders=log_folders)
    began = time.monotonic()
    found = await checker.look()
    while found.all and time.monotonic() - began < _SETTLE_S:
        await asyncio.sleep(0.25)
        found = await checker.look()
    report.settle_s = round(time.monotonic() - began, 1)
    report.log_lines, found.lines = await checker.look_at_logs()
    _note(report, found)
    await _end(rest, ledger, report)


def _note(report: Report, found: Findings) -> None:
    report.lost += len(found.lost)
    report.duplicates += len(found.duplicates)
    report.orphans += len(found.orphans)
    report.wrong_lines += len(found.lines)
    report.violations += found.all


async def _end(rest: Rest, ledger: Ledger, report: Report) -> None:
    """Terminate what is left; no engine may be left then."""
    for promise in ledger.promises:
        if not promise.purged:
            # One that was lost has been noted as such already.
            await rest.call("POST", "/deployment/terminate", {"deployment_id": promise.id})

    async def none_left() -> bool:
        return not engines(ledger.by_key())

    try:
        await eventually(none_left, within_s=_SETTLE_S)
    except AssertionError:
        left = engines(ledger.by_key())
        report.orphans += len(left)
        report.violations += [f"engine {engine.instance} outlives everything" for engine in left]


def print_table(report: Report) -> None:
    """One row, each figure below its name."""
    done = ("kills", "accepts", "cut_off", "kept", "refusals", "engine_kills", "samples", "log_lines")
    names = (*done, "duplicates", "orphans", "lost", "wrong_lines", "faults", "settle_s", "seconds")
    figures = asdict(report)
    widths = [max(len(name), len(str(figures[name]))) for name in names]
    print("  ".join(name.rjust(width) for name, width in zip(names, widths, strict=True)))
    print("  ".join(str(figures[name]).rjust(width) for name, width in zip(names, widths, strict=True)))


def main(arguments: Sequence[str]) -> int:
    """Run a soak; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="how often the gateway is killed (default: 50)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=240,
        help="no kill begins after so many (default: 240); the table says how many did",
    )
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of what is random (default: the time)")
    parser.add_argument("--json", type=Path, help="where to write the report, too")
    given = parser.parse_args(arguments)
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as name:
        report = asyncio.run(soak(Path(name), kills=given.kills, seed=given.seed, seconds=given.seconds))
    print_table(report)
    if report.kills < given.kills:
        print(f"{given.kills - report.kills} of {given.kills} kills were left for want of time; give more --seconds")
    for violation in report.violations:
        print(f"FOUND: {violation}")
    print(json.dumps(asdict(report)))
    if given.json:
        given.json.write_text(json.dumps(asdict(report), indent=2) + "\n")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

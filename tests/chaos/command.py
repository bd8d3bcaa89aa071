"""The command: shares the work over processes, and reports."""

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import machine
from tests.chaos.campaign import Campaign, make_templates, traces
from tests.chaos.forking import in_processes
from tests.chaos.report import Report
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.skipping import real_monotonic
from tests.chaos.warm import warm
from tests.support.cloud.process import CloudProcess

_MACHINE_SHARE = 0.3
"""Of the time, for the state machine."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything; gives the exit code."""
    given = _parser().parse_args(arguments)
    ends = real_monotonic() + given.seconds
    root = Path(tempfile.mkdtemp(prefix="chaos-", dir=_fast_folder()))
    report = Report(seed=given.seed)
    print(f"seed {given.seed}, {given.seconds:g} s, {given.jobs} processes, files in {root}", flush=True)
    with CloudProcess() as cloud:
        warm(cloud, root / "warm")
    with_machine = given.examples != 0 and not given.only
    if given.plays != 0:
        _kill_everywhere(given, root, report, ends - given.seconds * _MACHINE_SHARE if with_machine else ends)
    if with_machine:
        _run_machine(given, root, report, ends)
    report.show()
    if given.json:
        report.write(given.json)
    if not report.failed:
        shutil.rmtree(root)
    return 1 if report.failed else 0


def _kill_everywhere(given: argparse.Namespace, root: Path, report: Report, ends: float) -> None:
    """Every scenario, or a sample of them, killed at every point for which there is time."""
    shares = [(which, given.jobs) for which in range(given.jobs)]
    scenarios = [item for item in SCENARIOS if not given.only or item.name in given.only]
    if given.sample:
        scenarios = random.Random(given.seed).sample(scenarios, min(given.sample, len(scenarios)))

    def trace(share: tuple[int, int]) -> dict[str, list[tuple[str, str]]]:
        return traces(root / f"traces-{share[0]}", scenarios, given.seed, share)

    known = {name: told for part in in_processes(trace, shares) for name, told in part.items()}

    def play(share: tuple[int, int]) -> Campaign:
        campaign = Campaign(given.seed, root / f"plays-{share[0]}", known, distinct=given.distinct)
        campaign.run(scenarios, ends=ends, most=given.plays, share=share)
        return campaign

    for campaign in in_processes(play, shares):
        report.take(list(campaign.tallies.values()), campaign.wrong, campaign.left)


def _run_machine(given: argparse.Namespace, root: Path, report: Report, ends: float) -> None:
    """The state machine, in each process from another seed."""

    def run(share: tuple[int, int]) -> tuple[machine.Tally, str]:
        seed = given.seed + 1000 * share[0]
        return _examples(root / f"machine-{share[0]}", seed, given.examples, ends)

    for tally, failure in in_processes(run, [(which, given.jobs) for which in range(given.jobs)]):
        report.examples += tally.examples
        report.example_kills += tally.kills
        report.example_accepts += tally.accepts
        report.example_failure += failure


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Pull the plug, everywhere.")
    parser.add_argument("--seconds", type=float, default=180.0, help="how long it may take (default 180)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="of all that is drawn")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="processes (default: one a CPU)")
    parser.add_argument("--only", action="append", metavar="SCENARIO", help="play this one only; may be repeated")
    parser.add_argument("--sample", type=int, metavar="N", help="play only so many scenarios, drawn")
    parser.add_argument(
        "--distinct", action="store_true", help="once at each place and in each state, and at no other point"
    )
    parser.add_argument("--plays", type=int, help="most plays of each process (default: as many as the time allows)")
    parser.add_argument("--examples", type=int, help="examples of the state machine of each process (0: none)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    return parser


def _fast_folder() -> Path | None:
    """A disk in memory where there is one: what SIGKILL leaves does not depend on the disk."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else None


def _examples(root: Path, seed: int, most: int | None, ends: float) -> tuple[machine.Tally, str]:
    """Run the state machine; gives what it did, and what it found."""
    with CloudProcess() as cloud:
        templates = make_templates(cloud, root)
        failure = ""
        try:
            machine.run(templates, root, seed=seed, examples=most or sys.maxsize, ends=ends)
        except Exception:
            failure = f"seed {seed}:\n{traceback.format_exc()}"
        return machine.ControlPlane.tally, failure

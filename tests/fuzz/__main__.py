"""Fuzz the parsers that strangers reach: ``python -m tests.fuzz --seconds 600 [TARGET ...]``.

Each target runs for its time in a process of this machine; the first finding is shrunk, printed and ends it with 1.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.fuzz.targets import TARGETS, FindingError, run_target


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="time of each target")
    parser.add_argument("--seed", type=int, default=None, help="of the random choices; another one every time without")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all without")
    options = parser.parse_args()
    unknown = set(options.targets) - TARGETS.keys()
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    for name in options.targets or TARGETS:
        began = time.monotonic()
        seed = time.time_ns() % 2**32 if options.seed is None else options.seed
        print(f"{name}: {options.seconds:g} s, seed {seed}", flush=True)
        try:
            tried = run_target(name, options.seconds, seed)
        except FindingError as error:
            print(error)
            return 1
        print(f"{name}: {tried} inputs in {time.monotonic() - began:.0f} s, no finding", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

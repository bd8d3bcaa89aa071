"""Work shared over processes that are forked from this one."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_processes(work: Callable[[tuple[int, int]], T], shares: Sequence[tuple[int, int]]) -> list[T]:
    """Do the work in forked processes, each with its share; gives what each returns. Raises when one fails."""
    running: list[tuple[int, int]] = []
    for share in shares:
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            code = 1
            try:
                with os.fdopen(theirs, "wb") as out:
                    pickle.dump(work(share), out)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        os.close(theirs)
        running.append((pid, ours))
    told: list[bytes] = []
    for _, pipe in running:
        with os.fdopen(pipe, "rb") as source:
            told.append(source.read())
    codes = [os.waitpid(pid, 0)[1] for pid, _ in running]
    if any(codes):
        raise SystemExit(f"a process of the campaign failed: {codes}")
    return [pickle.loads(data) for data in told]

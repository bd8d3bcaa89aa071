"""Evidence that the kernel's out-of-memory killer struck in this process's control group."""

import os
import time


def counter_file(pid: int, root: str = "/sys/fs/cgroup", proc: str = "/proc") -> str | None:
    """The file whose ``oom_kill`` line counts kills in a process's memory control group; None when there is none."""
    try:
        with open(f"{proc}/{pid}/cgroup") as file:  # noqa: PTH123
            lines = file.read().splitlines()
    except OSError:
        return None
    candidates: list[str] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            candidates.append(f"{root}{path.rstrip('/')}/memory.events")
        elif "memory" in controllers.split(","):
            candidates += [f"{root}/memory{path.rstrip('/')}/memory.oom_control", f"{root}/memory/memory.oom_control"]
    return next((path for path in candidates if os.access(path, os.R_OK) and kills(path) is not None), None)


def kills(path: str | None) -> int | None:
    """How many processes were killed in the group so far; None when that cannot be known."""
    if path is None:
        return None
    try:
        with open(path) as file:  # noqa: PTH123
            counts = dict(line.split(maxsplit=1) for line in file.read().splitlines())
        return int(counts["oom_kill"])
    except (OSError, KeyError, ValueError):
        return None


class RecentKills:
    """Whether a kill was counted in the last few seconds; one that is older is not evidence for an end seen now."""

    def __init__(self, path: str | None, interval_s: float = 2.0) -> None:
        self._path = path
        self._interval_s = interval_s
        self._sampled_at = time.monotonic()
        self._last = self._before = kills(path)

    def sample(self) -> None:
        """Call at least every ``interval_s``."""
        now = time.monotonic()
        if now - self._sampled_at >= self._interval_s:
            self._before, self._last, self._sampled_at = self._last, kills(self._path), now

    def seen(self) -> bool:
        """Whether the group lost a process to the killer within the last two intervals."""
        count = kills(self._path)
        return count is not None and self._before is not None and count > self._before

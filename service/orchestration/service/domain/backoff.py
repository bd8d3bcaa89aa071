"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter: a random wait between nothing and a bound that doubles with each failure.

    Full jitter is what spreads many clients best (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
    """

    initial_s: float = 1.0
    maximum_s: float = 300.0
    random: random.Random = field(default_factory=random.Random)

    def delay(self, failures: int) -> float:
        """Seconds to wait after this many failures in a row (from 1)."""
        bound = min(self.maximum_s, self.initial_s * 2.0 ** min(failures - 1, 60))
        return self.random.uniform(0.0, bound)

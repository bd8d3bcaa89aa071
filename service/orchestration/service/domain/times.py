"""Times that stand in the rows and that cannot be: written before the machine's clock was set back."""

from __future__ import annotations

from orchestration.store.records import Replica

TOLERANCE_S = 60.0
"""Clocks of several gateways may differ by so much, and nothing is made of it."""
_PAST = ("state_changed_at", "waits_since", "placed_at", "started_at", "ready_at", "billed_from")
"""Times of what has happened."""


def corrected_times(replica: Replica, now: float, *, longest_pause_s: float) -> dict[str, float]:
    """The replica's times that lie further ahead than they can, as they are to be; empty when all are possible.

    What has happened did so now at the latest, and the next attempt is no further away than the longest pause.
    """
    late = {name: now for name in _PAST if getattr(replica, name) > now + TOLERANCE_S}
    if replica.retry_at > now + longest_pause_s + TOLERANCE_S:
        late["retry_at"] = now + longest_pause_s
    return late

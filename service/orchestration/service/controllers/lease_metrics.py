"""What is counted of leases."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class LeaseMetrics:
    """How much of the work this gateway holds, and how often it lost some or was refused a write for that reason."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.held = Gauge("orchestration_leases_held", "Leases that this gateway holds.", registry=registry)
        self.members = Gauge(
            "orchestration_gateways", "Gateways that share the work, as this one sees it.", registry=registry
        )
        self.lost = Counter(
            "orchestration_leases_lost", "Leases that another gateway took from this one.", registry=registry
        )
        self.refused = Counter(
            "orchestration_writes_refused", "Writes refused because their lease was not held.", registry=registry
        )

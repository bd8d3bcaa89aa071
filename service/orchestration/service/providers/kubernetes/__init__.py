"""The ``kubernetes`` provider: each replica is a Pod of its own, with a Service and a Secret that go with it."""

from orchestration.service.providers.kubernetes.provider import CAPABILITIES, create

__all__ = ["CAPABILITIES", "create"]

"""The ``nosana`` provider: replicas as deployments on Nosana's GPU market, over its HTTP API with an API key."""

from orchestration.service.providers.nosana.provider import create_provider as create

__all__ = ["create"]

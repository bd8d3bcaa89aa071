"""Addresses of services as Nosana makes them: a hash of what is served, below the ingress domain.

A deployment's own answer tells its addresses; this is for jobs whose deployment does not tell them.
"""

from __future__ import annotations

import hashlib

from orchestration.service.providers.ipfs import base58

_LABEL_CHARACTERS = 44


def job_host(op_index: int, port: int, job: str) -> str:
    """The host label of one port of one job."""
    digest = hashlib.sha512(f"{op_index}:{port}:{job}".encode()).digest()
    return base58.encode(digest)[:_LABEL_CHARACTERS]


def job_url(node_url: str, op_index: int, port: int, job: str) -> str:
    """The address of one port of one job; ``node_url`` is the pattern of hosts' addresses, with ``{node}``."""
    return node_url.replace("{node}", job_host(op_index, port, job))

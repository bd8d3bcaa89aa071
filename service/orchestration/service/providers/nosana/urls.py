"""Addresses of services as Nosana makes them: a hash of what is served, below the ingress domain.

A deployment's own answer tells its addresses; these are for jobs whose deployment does not tell them.
"""

from __future__ import annotations

import hashlib

from orchestration.service.providers.ipfs import base58

_LABEL_CHARACTERS = 44
_DEPLOYMENT_CHARACTERS = 45


def _hash(text: str, characters: int) -> str:
    return base58.encode(hashlib.sha512(text.encode()).digest())[:characters]


def job_host(op_index: int, port: int, job: str) -> str:
    """The host label of one port of one job."""
    return _hash(f"{op_index}:{port}:{job}", _LABEL_CHARACTERS)


def deployment_host(op_id: str, deployment: str, vault: str) -> str:
    """The host label that all jobs of a deployment share."""
    return _hash(f"{op_id}:0:{_hash(f'{deployment}:{vault}', _DEPLOYMENT_CHARACTERS)}", _LABEL_CHARACTERS)


def job_url(node_url: str, op_index: int, port: int, job: str) -> str:
    """The address of one port of one job; ``node_url`` is the pattern of hosts' addresses, with ``{node}``."""
    return node_url.replace("{node}", job_host(op_index, port, job))

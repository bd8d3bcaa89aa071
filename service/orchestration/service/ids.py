"""Ids and etags."""

from __future__ import annotations

import hashlib

import uuid_utils


def new_id() -> str:
    """A new UUIDv7 as text: ids sort by the time they were made, also within one millisecond of this process."""
    return str(uuid_utils.uuid7())


def etag(resource_id: str, version: int) -> str:
    """The etag of a resource at a version: equal exactly when both are."""
    return hashlib.blake2s(f"{resource_id}/{version}".encode(), digest_size=8).hexdigest()

"""A process that writes deployments until it is killed, and prints the id of each that the store acknowledged.

Arguments: URL, number of concurrent writers.
"""

from __future__ import annotations

import asyncio
import sys
import uuid

from orchestration.store.records import Deployment, Pool
from orchestration.store.store import Store


async def write(store: Store, pool_id: str) -> None:
    """Write for ever."""
    while True:
        record = Deployment(
            id=str(uuid.uuid4()),
            org_id="o",
            owner_id="o",
            pool_id=pool_id,
            model_name="m",
            engine="vllm",
            inference_model="m",
        )
        async with store.write(actor="writer") as tx:
            await tx.insert(record)
            tx.event(kind="deployment", subject_id=record.id, reason="CREATED", message="")
        sys.stdout.write(record.id + "\n")
        sys.stdout.flush()


async def main(url: str, writers: int) -> None:
    """Open the store and write."""
    store = await Store.open(url)
    async with store.write(actor="writer") as tx:
        pool = await tx.get(Pool, "p") or await tx.insert(
            Pool(id="p", name="p", owner_type="org", owner_id="o", provider="local")
        )
    await asyncio.gather(*(write(store, pool.id) for _ in range(writers)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))

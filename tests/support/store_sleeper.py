"""A process that stands in a write transaction until it gets a line on standard input, and prints what came of it.

Argument: URL.
"""

from __future__ import annotations

import asyncio
import sys

from orchestration.store.errors import StoreUnavailableError
from orchestration.store.records import Pool
from orchestration.store.store import Store


async def main(url: str) -> None:
    """Begin, wait, and end."""
    async with await Store.open(url, busy_timeout_s=1.0) as store:
        try:
            async with store.write(actor="sleeper") as tx:
                await tx.insert(Pool(id="late", name="late", owner_type="org", owner_id="o", provider="local"))
                await tx.find_leases("")
                print("within", flush=True)
                await asyncio.to_thread(sys.stdin.readline)
        except StoreUnavailableError as error:
            print(error.reason, flush=True)
        else:
            print("committed", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

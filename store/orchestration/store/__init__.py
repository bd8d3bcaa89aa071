"""What the gateway keeps: records, transactions, the change feed, the memory index, leases and migrations."""

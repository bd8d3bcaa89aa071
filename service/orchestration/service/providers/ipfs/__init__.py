"""Files from IPFS, fetched from gateways that need not be trusted: every block is checked against its name."""

"""The gateway's own copy of what replicas print: append-only segments on disk, one cursor for page, tail and follow."""

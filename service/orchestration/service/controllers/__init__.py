"""Controllers: they make what is there like what is wanted, level-triggered from the memory index."""

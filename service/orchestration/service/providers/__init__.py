"""Places where a replica can run, each behind the `Provider` protocol of `base`."""

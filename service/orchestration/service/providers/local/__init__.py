"""Replicas as processes of this machine, each under a small supervisor that outlives the gateway."""

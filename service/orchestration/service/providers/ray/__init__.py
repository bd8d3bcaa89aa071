"""Replicas as jobs of Ray clusters, by the Jobs REST API: the gateway itself needs nothing of Ray's.

A job runs a small program (`launcher`) on the node that Ray gives it; that starts the engine, and says in the job's log
where it listens. The log is read back by the same API, so that nodes need no way to the gateway.
"""

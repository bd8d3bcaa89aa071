"""Replicas as processes of this machine, each under a small supervisor that outlives the gateway.

An engine runs in the gateway's working directory and control group, in a session of its own. A service manager that
ends whole control groups ends the engines with the gateway: under systemd, set ``KillMode=process``.
"""

"""The supervisor of one engine process.

It runs on the standard library alone, apart from the rest of the project: it must start in milliseconds, stay small
beside the engine, and go on unchanged while the gateway is restarted or upgraded.
"""

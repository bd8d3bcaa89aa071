"""Inference engines: how each is started, and how it says that it is ready."""

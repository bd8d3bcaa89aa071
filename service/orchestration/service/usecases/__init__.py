"""What each call does: one module for each resource, knowing messages and the store and nothing of gRPC."""

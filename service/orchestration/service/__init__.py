"""The control plane: servicers, use cases, controllers, providers, engines, logs and the command line."""

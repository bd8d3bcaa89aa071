"""The gRPC face: servicers, interceptors, and the one table that turns errors into statuses."""

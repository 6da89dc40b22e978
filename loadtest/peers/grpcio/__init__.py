"""A plain gRPC server, as one writes it by hand."""

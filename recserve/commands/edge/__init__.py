"""`recserve edge`: Envoy before several servers."""

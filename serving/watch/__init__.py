"""What a server tells of itself while it serves: families of metrics, the distribution of scores, a log of requests."""

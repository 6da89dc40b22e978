"""Latency against the length of the history: LREA beside attention over all events, one run, one set of weights."""

"""Latency and throughput under load, against the floor."""

from pathlib import Path

RESULTS = Path(__file__).with_name("results")
"""Folder of the committed results."""

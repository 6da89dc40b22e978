"""The scorer on BentoML."""

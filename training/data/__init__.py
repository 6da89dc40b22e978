"""Data sets: fetched, checked, split by time and turned into batches."""

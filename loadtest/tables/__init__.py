"""Time and memory of reading a large folder of own tables."""

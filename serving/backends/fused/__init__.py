"""The Python-based backend `fused`: the steps of an ensemble in one process."""

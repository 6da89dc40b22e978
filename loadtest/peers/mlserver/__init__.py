"""The scorer on MLServer."""

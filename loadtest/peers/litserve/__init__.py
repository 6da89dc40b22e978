"""The scorer on LitServe."""

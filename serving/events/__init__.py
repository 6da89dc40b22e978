"""Events on their way to a server: what pushes them, and where they come from."""

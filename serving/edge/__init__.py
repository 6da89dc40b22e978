"""Envoy in front of several servers: its configuration out of one description, and the file that shifts its traffic."""

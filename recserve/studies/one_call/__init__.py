"""Retrieving and ranking in one call beside a client that asks twice."""

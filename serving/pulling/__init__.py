"""Brings what an object store serves into a repository on this machine."""

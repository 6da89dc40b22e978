"""`recserve releases`: what is served of a repository, and what was and may be."""

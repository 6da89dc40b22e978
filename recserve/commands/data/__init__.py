"""`recserve data`: the built-in data sets, and a team's own tables."""

"""DEA on data with planted structure: its filter on a table spoilt on purpose, its codebooks on pairs alone."""

"""Studies of models of many scenarios: how sure cells are, what moves, what two graphs cost, and a sparse scenario."""

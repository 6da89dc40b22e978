"""How far probabilities of tracing models can be believed."""

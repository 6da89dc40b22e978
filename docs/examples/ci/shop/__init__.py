"""The shop's two models, as recserve serves them."""

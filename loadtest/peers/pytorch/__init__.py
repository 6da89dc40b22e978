"""The release's program in torch, as one serves it who exports nothing: eager, or compiled."""

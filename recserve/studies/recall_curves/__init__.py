"""Recall@N by N for the losses of one family, from recorded results."""

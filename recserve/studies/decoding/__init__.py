"""Decoding of REG4Rec in one graph of all steps, beside a search around a graph of one step."""

"""Pruning by consistency (CORP) of REG4Rec, against theta."""

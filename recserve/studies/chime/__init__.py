"""What CHIME costs by the length of the history, beside LREA and DIN: one run, the same sizes in every way."""

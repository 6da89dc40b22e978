"""Users whose events arrive while they are asked about: every answer is held to a recomputation."""

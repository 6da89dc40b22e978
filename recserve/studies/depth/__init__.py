"""HeterRec and its control by the number of their blocks: what more of them are worth."""

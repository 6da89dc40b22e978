"""What S-Diff's noise leaves of the signal, by frequency."""

"""Use of the codebooks of tokenizers over a catalogue, by word."""

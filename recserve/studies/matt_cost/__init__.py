"""Cost of the paths of MATT, relative to one forward of the base model."""

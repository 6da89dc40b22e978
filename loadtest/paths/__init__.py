"""`recserve bench matt-cost`: what the paths of MATT cost, relative to one forward of the base model."""

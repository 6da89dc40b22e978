"""Steps of an ensemble that are no graphs, as what is published: their files, and the eager answers to compare with."""

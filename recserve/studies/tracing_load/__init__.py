"""What an answer of a student costs when it is served, by how many there are already."""

"""What an answer costs tracing models, by how many came before it."""

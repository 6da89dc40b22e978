"""What the codes that two items share do to the attention between them."""

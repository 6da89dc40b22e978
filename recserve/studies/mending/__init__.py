"""What mending rows at test time costs and gains, beside paths around the same base."""

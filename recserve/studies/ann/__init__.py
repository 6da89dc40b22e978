"""What finding items costs: a product with all of them beside an index, by the number of items."""

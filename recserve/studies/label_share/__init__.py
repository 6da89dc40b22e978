"""What pre-training is worth, by the share of the training rows that have labels."""

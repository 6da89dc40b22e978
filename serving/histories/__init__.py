"""What users did: their newest events, kept beside the releases and shared by all of them."""

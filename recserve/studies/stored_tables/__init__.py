"""Tables in fewer bytes: what they cost in quality, and what a look-up takes."""

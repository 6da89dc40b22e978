"""How soon, and how truly, an answer knows what a user has just done."""

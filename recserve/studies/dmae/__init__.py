"""What DMAE's similarities are worth on items that training did not see, and what they cost when they are served."""

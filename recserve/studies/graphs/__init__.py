"""Where the time of served graphs goes, and how far it is from what the machine could do."""

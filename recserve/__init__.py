"""The command line of recserve, and nothing else."""

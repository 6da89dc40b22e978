"""One file per command: a frozen dataclass with its arguments and `run`, which returns the exit code."""

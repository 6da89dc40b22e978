"""What the long commands of the kernels say while they run."""

import sys


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()

"""`recserve` and `python -m recserve`."""

import sys

from recserve.names import check_names


def main() -> int:
    """Runs the command line, after a look at whose packages it is about to import."""
    try:
        check_names()
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    try:
        from recserve.cli import main as run

        return run()
    except KeyboardInterrupt:  # also while torch is being imported
        return 130


if __name__ == "__main__":
    sys.exit(main())

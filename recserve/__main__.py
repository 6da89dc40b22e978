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
    from recserve.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())

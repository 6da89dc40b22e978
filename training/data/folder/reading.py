"""Polars over files that others wrote: whatever is wrong with one is an error in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polars.exceptions import PanicException, PolarsError

_LONGEST = 120


class UnreadableError(ValueError):
    """A file that is no table, or a damaged one."""

    def __init__(self, path: Path, reason: str) -> None:
        kind = {".parquet": "Parquet", ".jsonl": "JSON lines of sessions"}.get(path.suffix, "CSV in UTF-8")
        self.what: str = f"cannot be read as {kind} ({reason}); write it again, or give it the right ending"
        """Without the name of the file."""
        super().__init__(f"{path} {self.what}")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raises UnreadableError where what is read inside is damaged."""
    try:
        yield
    # Polars panics over some damaged Parquet files, which is no Exception to Python.
    except (PolarsError, PanicException, OSError, UnicodeError) as error:
        panicked = isinstance(error, PanicException)
        reason = "damaged" if panicked else " ".join(str(error).split(".")[0].split())[:_LONGEST]
        raise UnreadableError(path, reason) from error

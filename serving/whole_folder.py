"""A folder in the cache that is there as a whole, or not at all."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def publish(target: Path, fill: Callable[[Path], None]) -> None:
    """Fills a folder beside `target`, which then takes that name in one step: a second process never sees half of it.

    Where somebody else published the same content first, theirs stays. Raises what `fill` raises, and OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        fill(scratch)
        scratch.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)

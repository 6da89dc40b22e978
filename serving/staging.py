"""Where releases are staged before they are renamed into a repository."""

import os
from pathlib import Path


def place(repository: Path, what: str) -> Path:
    """A path on the repository's file system, `.<repository>.<what>`: beside it, or in it where that is a mount of its
    own, or where nothing may be written beside it."""
    beside = repository.resolve()
    can_rename = beside.stat().st_dev == beside.parent.stat().st_dev and os.access(beside.parent, os.W_OK)
    return (beside.parent if can_rename else beside) / f".{beside.name}.{what}"

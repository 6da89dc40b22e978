"""What all processes of a run of the tests share: made by the first that asks for it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from training.data.fetch import locked


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A copy of the folder that `make` fills, for the process that asks."""
    return once_at(factory.mktemp(name) / "repository", factory.getbasetemp(), name, make)


def once_at(copy: Path, base: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The same as the new folder `copy`; `base` is that of all temporary folders of the process."""
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"once-{name}"
    with locked(made.with_suffix(".lock")):
        if not made.exists():
            begun = made.with_suffix(".begun")
            shutil.rmtree(begun, ignore_errors=True)
            make(begun)
            begun.rename(made)
    return Path(shutil.copytree(made, copy))

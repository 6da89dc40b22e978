"""What all processes of a run of the tests share: made by the first that asks for it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from training.data.fetch import locked


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A copy of the folder that `make` fills, for the process that asks."""
    base = factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"once-{name}"
    with locked(made.with_suffix(".lock")):
        if not made.exists():
            begun = made.with_suffix(".begun")
            shutil.rmtree(begun, ignore_errors=True)
            make(begun)
            begun.rename(made)
    return Path(shutil.copytree(made, factory.mktemp(name) / "repository"))

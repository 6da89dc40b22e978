"""The system that docs/adding-a-system.md has as its example, out of the page's own text."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.pages import blocks
from training.registry import SYSTEMS
from training.system import System

PAGE = "docs/adding-a-system.md"
FILE = "dcn.py"


def text() -> str:
    """The file, as the page has it."""
    (found,) = (block.text for block in blocks(PAGE) if block.label == FILE)
    return found


@contextmanager
def registered(folder: Path) -> Iterator[System]:
    """The file written into a folder, imported from there, and its system among the others for a while."""
    path = folder / FILE
    path.write_text(text())
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
        patch.setitem(SYSTEMS, module.SYSTEM.name, module.SYSTEM)
        yield module.SYSTEM

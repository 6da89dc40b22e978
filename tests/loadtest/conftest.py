"""Two releases of the small LREA, for what goes from one to the next."""

from pathlib import Path

import pytest

from export.artifacts import Source
from export.repository import publish
from tests.conftest import lrea
from tests.once import once


@pytest.fixture(scope="session")
def two_releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 and 2, of unlike weights; not to be changed."""

    def make(folder: Path) -> None:
        for seed in range(2):
            publish(folder, lrea(seed), Source(kind="factory", name="tests.conftest:lrea"))

    return once(tmp_path_factory, "two-releases", make)

import shutil
from pathlib import Path

import pytest

from export.repository import Source, publish
from tests.export.models import release
from tests.once import once


@pytest.fixture(scope="session")
def published_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with version 1 of the release; not to be changed."""

    def make(folder: Path) -> None:
        publish(folder, release(), Source(kind="factory", name="tests.export.models:release"))

    return once(tmp_path_factory, "published", make)


@pytest.fixture
def published(published_once: Path, tmp_path: Path) -> Path:
    """A copy of the published release, to be broken."""
    return Path(shutil.copytree(published_once, tmp_path / "repository"))

import shutil
from pathlib import Path

import pytest

from export.repository import Source, publish
from tests.export.models import release


@pytest.fixture(scope="session")
def published_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with version 1 of the release; not to be changed."""
    repository = tmp_path_factory.mktemp("published") / "repository"
    publish(repository, release(), Source(kind="factory", name="tests.export.models:release"))
    return repository


@pytest.fixture
def published(published_once: Path, tmp_path: Path) -> Path:
    """A copy of the published release, to be broken."""
    return Path(shutil.copytree(published_once, tmp_path / "repository"))

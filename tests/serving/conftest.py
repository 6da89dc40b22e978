"""One running server for all tests that do not break it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.admin import Admin
from serving.server import ServerOptions, TritonServer
from tests.serving import models


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server with every model of tests/serving/models.py."""
    folder = tmp_path_factory.mktemp("served")
    models.publish_all(folder / "repository")
    with TritonServer(folder / "repository", ServerOptions(log=folder / "server.log")) as server:
        yield server


@pytest.fixture(scope="session")
def client(server: TritonServer) -> Iterator[Admin]:
    """A client of `server` with the admin key and a deadline that a loaded machine keeps."""
    with Admin(server.url, deadline_s=30.0, admin_key=server.admin_key) as client:
        yield client


@pytest.fixture
def small_repository(tmp_path: Path) -> Path:
    """A repository with the model `scaled` alone, for servers that get broken."""
    models.publish_scaled(tmp_path / "repository")
    return tmp_path / "repository"


@pytest.fixture
def live(repository: Path, tmp_path: Path) -> Path:
    """A copy of the small LREA, into which releases are published."""
    return Path(shutil.copytree(repository, tmp_path / "live"))


@pytest.fixture
def live_server(live: Path, tmp_path: Path) -> Iterator[TritonServer]:
    """A server of `live` whose models can be controlled."""
    with TritonServer(live, ServerOptions(state=tmp_path / "state", model_control="explicit")) as one:
        yield one

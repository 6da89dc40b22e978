"""The native backend, built once for whoever runs the tests, and two servers of one repository, one of each form."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import tritonclient.grpc as triton

from serving import native, runtime
from serving.options import Backend
from serving.server import ServerOptions, TritonServer
from tests.conftest import REAL_CACHE
from tests.serving.native import graphs
from training.data.fetch import locked


def needs_compiler() -> None:
    """Skips where there is none."""
    if shutil.which(native.COMPILER) is None:
        pytest.skip(f"needs {native.COMPILER}")


@pytest.fixture(scope="session")
def library() -> Path:
    """The compiled backend, in the cache of these tests; skips where there is no compiler."""
    needs_compiler()
    here, real = runtime.cache() / "native", REAL_CACHE / "native"
    real.mkdir(parents=True, exist_ok=True)
    if not here.exists():
        here.symlink_to(real)
    with locked(real / "tests.lock"):
        return native.build()


class Served(NamedTuple):
    """A running server and a client of it."""

    server: TritonServer
    client: triton.InferenceServerClient


@contextmanager
def served(repository: Path, backend: Backend, folder: Path) -> Iterator[Served]:
    """A server of a repository by one form of the backend; its models need no goldens."""
    folder.mkdir()
    options = ServerOptions(
        log=folder / "server.log",
        state=folder / "state",
        backend=backend,
        check_golden=False,
        model_control="explicit",
        admin_key="key",
    )
    with TritonServer(repository, options) as server:
        client = triton.InferenceServerClient(server.url)
        yield Served(server, client)
        client.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of graphs.py."""
    repository = tmp_path_factory.mktemp("tiny") / "repository"
    graphs.publish_all(repository)
    return repository


@pytest.fixture(scope="session")
def cpp(library: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The native form."""
    with served(tiny, "native", tmp_path_factory.mktemp("native") / "served") as one:
        yield one


@pytest.fixture(scope="session")
def python(library: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The Python form, the specification."""
    with served(tiny, "python", tmp_path_factory.mktemp("python") / "served") as one:
        yield one

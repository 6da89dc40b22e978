"""A small LREA, published once, and a server that serves it: for every test that needs the whole line."""

import gc
import shutil
from collections.abc import Iterator
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from export.artifacts import Source
from export.repository import publish
from serving.admin import Admin
from serving.runtime import cache as cache_folder
from serving.server import ServerOptions, TritonServer
from tests.once import once
from training.data.fetch import default_cache
from training.data.planted_clicks import planted_clicks
from training.servable import Origin, Signature, of_origin
from training.system import Wanted
from training.systems.lrea import LREA, SYSTEM, Config

REAL_CACHE = cache_folder()
"""That of whoever runs the tests."""
SMALL = Config(dim=8, heads=2, rank=4, max_length=16, hidden=(8, 4), dropout=0.0)


@pytest.fixture(scope="session", autouse=True)
def _garbage_waits() -> None:
    """torch's exporter makes millions of small objects; looking for garbage among them is a tenth of an export."""
    gc.freeze()
    gc.set_threshold(1_000_000, 20, 100)


@pytest.fixture(scope="session", autouse=True)
def _operators_read_once() -> Iterator[None]:
    """torch's exporter reads the sources of all its operators anew for each graph, half a second of an export, and asks
    torch for the names of all operators once for each namespace, a tenth."""
    from torch._export import utils
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    read = cache(ONNXRegistry.from_torchlib)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_materialize_cpp_cia_ops", cache(utils._materialize_cpp_cia_ops))
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(lambda **asked: _copied(read(**asked))))
        yield


def _copied(registry: Any) -> Any:
    """One that an export may add to."""
    own = copy(registry)
    own.functions = {target: [*found] for target, found in registry.functions.items()}
    return own


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Backends and logs go to a folder of this session; data sets stay where they are, as nobody fetches them twice."""
    folder = tmp_path_factory.mktemp("cache")
    default_cache().mkdir(parents=True, exist_ok=True)
    (folder / "data").symlink_to(default_cache())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSERVE_CACHE", str(folder))
        yield


def lrea(seed: int = 0) -> tuple[Signature, ...]:
    """The models of an untrained LREA whose weights follow from the seed."""
    data = SYSTEM.task.view(planted_clicks(), Wanted(SYSTEM.reads, SMALL.max_length, {}))
    torch.manual_seed(seed)
    model = LREA(SMALL, data.schema)
    model.prepare(data)
    with torch.no_grad():
        model.bias.copy_(torch.randn(SMALL.heads))
    origin = Origin(system=SYSTEM.name, task=SYSTEM.task.name, schema=data.schema)
    return of_origin(SYSTEM.release(model.eval(), SMALL, data), origin)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of LREA; not to be changed."""

    def make(folder: Path) -> None:
        publish(folder, lrea(), Source(kind="factory", name="tests.conftest:lrea"))

    return once(tmp_path_factory, "lrea", make)


@pytest.fixture(scope="session")
def two_releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LREA in versions 1 and 2, of unlike weights; not to be changed."""

    def make(folder: Path) -> None:
        for seed in range(2):
            publish(folder, lrea(seed), Source(kind="factory", name="tests.conftest:lrea"))

    return once(tmp_path_factory, "two-releases", make)


@pytest.fixture
def broken(repository: Path, tmp_path: Path) -> Path:
    """A copy of the release, to be broken."""
    return Path(shutil.copytree(repository, tmp_path / "repository"))


@pytest.fixture(scope="session")
def lrea_server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server over the release, with a store of its own."""
    folder = tmp_path_factory.mktemp("lrea_server")
    with TritonServer(repository, ServerOptions(state=folder / "state", log=folder / "server.log")) as server:
        yield server


@pytest.fixture(scope="session")
def lrea_client(lrea_server: TritonServer) -> Iterator[Admin]:
    """A client of `lrea_server` with the admin key and a deadline that a loaded machine keeps."""
    with Admin(lrea_server.url, deadline_s=30.0, admin_key=lrea_server.admin_key) as client:
        yield client


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no process is left with one of them at the end."""
    seconds: dict[Path, float] = {}
    for item in items:
        for mark in item.iter_markers("slow"):
            seconds[item.path] = max(seconds.get(item.path, 0), *mark.args, 10)
    items.sort(key=lambda item: -seconds.get(item.path, 0))

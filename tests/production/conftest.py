"""The chart's examples, rendered once."""

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.production.helm import EXAMPLES, rendered
from tests.production.manifests import Manifests


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("helm")


@pytest.fixture(scope="session")
def render(folder: Path) -> Callable[[str], Manifests]:
    @cache
    def of(name: str) -> Manifests:
        return rendered(folder, EXAMPLES[name])

    return of


@pytest.fixture(params=[*EXAMPLES])
def manifests(request: pytest.FixtureRequest, render: Callable[[str], Manifests]) -> Manifests:
    return copy.deepcopy(render(request.param))

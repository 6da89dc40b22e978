"""A running server goes to a new release, or stays where it is."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from export.artifacts import Source
from export.repository import publish
from serving import golden
from serving.errors import StartupError
from serving.rollout import Release, roll_out, served
from serving.server import ServerOptions, TritonServer
from tests.conftest import lrea

pytestmark = pytest.mark.triton_server
SOURCE = Source(kind="factory", name="tests.conftest:lrea")


@pytest.fixture
def live(repository: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(repository, tmp_path / "live"))


@pytest.fixture
def server(live: Path, tmp_path: Path) -> Iterator[TritonServer]:
    with TritonServer(live, ServerOptions(state=tmp_path / "state", model_control="explicit")) as one:
        yield one


def first_scores(repository: Path, version: int) -> golden.Golden:
    return golden.read(repository / "lrea_ranker" / str(version) / "golden.safetensors")[0]


def test_the_new_release_answers_and_the_one_before_stays_loaded(live: Path, server: TritonServer) -> None:
    with server.client() as client:
        assert not roll_out(client, live), "there is nothing new"
        publish(live, lrea(1), SOURCE)
        said: list[str] = []
        assert roll_out(client, live, report=said.append)
        assert said[-1] == "switching lrea_ranker to version 2"
        assert served(client) == Release.newest(live, "cpu")
        new = first_scores(live, 2)
        answer = client.infer("lrea_ranker", new.inputs)
        np.testing.assert_allclose(answer["scores"], new.outputs["scores"], atol=1e-5)
        assert set(client.metadata("lrea_scorer").versions) == {"1", "2"}
        publish(live, lrea(2), SOURCE)
        assert roll_out(client, live)
        assert set(client.metadata("lrea_scorer").versions) == {"2", "3"}, "not more than two"


def test_a_release_that_answers_wrongly_is_refused_and_the_one_before_goes_on(live: Path, server: TritonServer) -> None:
    publish(live, lrea(1), SOURCE)
    path = live / "lrea_scorer" / "2" / "golden.safetensors"
    shutil.copy(live / "lrea_scorer" / "1" / "golden.safetensors", path)
    old = first_scores(live, 1)
    with server.client() as client:
        with pytest.raises(StartupError, match=r"lrea_scorer version 2: .*the release before goes on serving"):
            roll_out(client, live)
        np.testing.assert_allclose(client.infer("lrea_ranker", old.inputs)["scores"], old.outputs["scores"], atol=1e-5)


def test_an_ensemble_that_is_not_pinned_is_named(live: Path, tmp_path: Path) -> None:
    with TritonServer(live, ServerOptions(state=tmp_path / "state")) as one, one.client() as client:
        publish(live, lrea(1), SOURCE)
        with pytest.raises(ValueError, match="ensemble 'lrea_ranker' is not pinned"):
            roll_out(client, live)

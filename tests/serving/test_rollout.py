"""A running server goes to a new release, or stays where it is."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from export.artifacts import Source
from export.repository import publish
from serving import golden
from serving.rollout import Release, roll_out, served
from serving.server import ServerOptions, TritonServer
from serving.startup import StartupError
from tests.conftest import lrea
from tests.sealing import reseal

pytestmark = [pytest.mark.triton_server, pytest.mark.slow(80)]
MODELS = ("lrea", "lrea_state", "lrea_scorer", "lrea_encoder")
SOURCE = Source(kind="factory", name="tests.conftest:lrea")


Appear = Callable[[Path, int, int], None]


@pytest.fixture(scope="module")
def appear(two_releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Appear:
    """(repository, seed, version): that release of LREA is published there; each is exported once."""
    made = {(1, 2): two_releases}

    def put(live: Path, seed: int, version: int) -> None:
        if (seed, version) not in made:
            made[seed, version] = tmp_path_factory.mktemp("release")
            publish(made[seed, version], lrea(seed), SOURCE, version=version)
        for model in made[seed, version].iterdir():
            for config in (model / "config.pbtxt", model / "configs" / "cpu.pbtxt"):
                shutil.copy(config, live / config.relative_to(made[seed, version]))
            shutil.copytree(model / str(version), live / model.name / str(version))

    return put


@pytest.fixture
def chained(live: Path) -> str:
    """A target whose ensemble is tritonserver's own, with a process for each step."""
    for model in live.iterdir():
        own = "config.pbtxt" if model.name == "lrea" else "configs/cpu.pbtxt"
        shutil.copy(model / own, model / "configs" / "chained.pbtxt")
    return "chained"


def first_scores(repository: Path, version: int) -> golden.Golden:
    return golden.read(repository / "lrea" / str(version) / "golden.safetensors")[0]


def rolls_out_twice(live: Path, live_server: TritonServer, appear: Appear) -> list[str]:
    """What was said last of two roll-outs, after each of which the new release answered."""
    target, said = live_server.options.target, []
    with live_server.client() as client:
        assert not roll_out(client, live, target), "there is nothing new"
        for seed, version in ((1, 2), (3, 3)):
            appear(live, seed, version)
            reports: list[str] = []
            assert roll_out(client, live, target, report=reports.append)
            said.append(reports[-1])
            assert served(client) == Release.wanted(live, target)
            new = first_scores(live, version)
            answer = client.infer("lrea", new.inputs)
            np.testing.assert_allclose(answer["scores"], new.outputs["scores"], atol=1e-5)
            before = str(version - 1)
            for part in MODELS[1:]:
                assert set(client.metadata(part).versions) == {before, str(version)}, "not more than two"
    return said


def test_the_new_release_answers_and_the_one_before_stays_loaded(
    live: Path, live_server: TritonServer, appear: Appear
) -> None:
    assert rolls_out_twice(live, live_server, appear) == ["loading lrea version 2", "loading lrea version 3"]


def test_an_ensemble_of_several_processes_switches_last(
    live: Path, chained: str, tmp_path: Path, appear: Appear
) -> None:
    options = ServerOptions(state=tmp_path / "state", model_control="explicit", target=chained)
    with TritonServer(live, options) as server:
        assert rolls_out_twice(live, server, appear) == [
            "switching lrea to version 2",
            "switching lrea to version 3",
        ]
        with server.client() as client:
            down = dict.fromkeys(served(client).versions, 2)
            said: list[str] = []
            assert roll_out(client, live, chained, said.append, release=Release(down)) == Release(down)
            assert said[-4:] == [f"switching {name} to version 2" for name in MODELS]
            assert {client.metadata(name).versions for name in MODELS} == {("2",)}
            old = first_scores(live, 2)
            np.testing.assert_allclose(client.infer("lrea", old.inputs)["scores"], old.outputs["scores"], atol=1e-5)


@pytest.mark.parametrize("model", ["lrea_scorer", "lrea"])
def test_a_release_that_answers_wrongly_is_taken_back_and_the_one_before_goes_on(
    live: Path, live_server: TritonServer, model: str, appear: Appear
) -> None:
    old = {name: golden.read(live / name / "1" / "golden.safetensors")[0] for name in ("lrea_scorer", "lrea")}
    appear(live, 1, 2)
    shutil.copy(live / model / "1" / "golden.safetensors", live / model / "2" / "golden.safetensors")
    reseal(live)
    with live_server.client() as client:
        with pytest.raises(StartupError, match=rf"{model} version 2: .*the release before goes on serving"):
            roll_out(client, live)
        assert set(client.metadata(model).versions) == {"1"}
        answer = client.infer("lrea", old["lrea"].inputs)
        assert golden.compare(old["lrea"].outputs, answer, 1e-5).ok
        answer = client.infer(model, old[model].inputs)
        assert golden.compare(old[model].outputs, answer, 1e-5).ok


def test_an_ensemble_that_is_not_pinned_is_named(live: Path, chained: str, tmp_path: Path, appear: Appear) -> None:
    with TritonServer(live, ServerOptions(state=tmp_path / "state", target=chained)) as one, one.client() as client:
        appear(live, 1, 2)
        with pytest.raises(ValueError, match="ensemble 'lrea' is not pinned"):
            roll_out(client, live, chained)


@pytest.mark.parametrize("model", ["lrea_scorer", "lrea", "lrea_state"])
def test_a_release_with_a_flipped_bit_is_refused_by_file_before_anything_is_loaded(
    live: Path, live_server: TritonServer, model: str, appear: Appear
) -> None:
    appear(live, 1, 2)
    path = max((path for path in (live / model / "2").iterdir()), key=lambda path: path.stat().st_size)
    path.write_bytes(flipped(path.read_bytes()))
    with live_server.client() as client:
        with pytest.raises(ValueError, match=rf"{model}/2/{path.name} is not what was published"):
            roll_out(client, live)
        assert {client.metadata(name).versions for name in client.model_names()} == {("1",)}
        answer = client.infer("lrea", first_scores(live, 1).inputs)
        assert golden.compare(first_scores(live, 1).outputs, answer, 1e-5).ok


def flipped(content: bytes) -> bytes:
    """With another last bit in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def test_a_restart_serves_what_was_served_although_something_newer_is_published(
    live: Path, live_server: TritonServer, appear: Appear
) -> None:
    old = first_scores(live, 1)
    appear(live, 1, 2)
    path = live / "lrea_scorer" / "2" / "model.onnx"
    path.write_bytes(flipped(path.read_bytes()))
    live_server.process.kill()
    live_server.process.wait()
    live_server.restart()
    with live_server.client() as client:
        assert {client.metadata(name).versions for name in client.model_names()} == {("1",)}
        answer = client.infer("lrea", old.inputs)
        assert golden.compare(old.outputs, answer, 1e-5).ok
        shutil.rmtree(live / "lrea_scorer" / "2")
        for model in live.iterdir():
            shutil.rmtree(model / "2", ignore_errors=True)
        appear(live, 1, 2)
        assert roll_out(client, live), "and a sound release is taken over afterwards"

"""An ensemble's steps in one process."""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from serving import golden
from serving.admin import Admin
from serving.backends.fused.chain import Chain, Link, OnnxStep
from serving.direct import DirectModel
from serving.server import ServerOptions, TritonServer
from serving.startup import StartupError
from serving.steps.step import Answer, Refusal, Tensors

TOO_LARGE = Refusal("x is too large", "INVALID_ARG")


class Doubled:
    """2 x, and a refusal for x above 9; remembers how many it was asked at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.closed = False

    def answer(self, requests: Sequence[Tensors]) -> list[Answer]:
        self.asked.append(len(requests))
        return [TOO_LARGE if one["x"].max() > 9 else {"y": 2 * one["x"], "unused": one["x"]} for one in requests]

    def close(self) -> None:
        self.closed = True


def numbers(*values: int) -> list[Tensors]:
    return [{"number": np.array([[value]])} for value in values]


def test_a_chain_hands_each_step_what_it_maps_and_answers_the_outputs_alone() -> None:
    first, second = Doubled(), Doubled()
    links = [Link(first, {"x": "number"}, {"y": "twice"}), Link(second, {"x": "twice"}, {"y": "four_times"})]
    answers = Chain(links, ["number"], ["four_times"]).answer(numbers(1, 2, 3))
    assert [{name: array.item() for name, array in one.items()} for one in answers if isinstance(one, dict)] == [
        {"four_times": 4},
        {"four_times": 8},
        {"four_times": 12},
    ]
    assert first.asked == second.asked == [3], "the batch stays one"


def test_a_request_that_a_step_refuses_goes_no_further_and_its_mates_do() -> None:
    first, second = Doubled(), Doubled()
    links = [Link(first, {"x": "number"}, {"y": "twice"}), Link(second, {"x": "twice"}, {"y": "four_times"})]
    chain = Chain(links, ["number"], ["four_times"])
    answers = chain.answer(numbers(10, 1, 5))
    assert answers[0] == answers[2] == TOO_LARGE
    assert isinstance(answers[1], dict)
    assert (first.asked, second.asked) == ([3], [2])
    assert chain.answer(numbers(10)) == [TOO_LARGE]
    assert second.asked == [2], "nobody was left to ask for"
    chain.close()
    assert first.closed
    assert second.closed


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [
        ({"x": "nobody"}, ["twice"], r"step 0 reads \['nobody'\]"),
        ({"x": "number"}, ["thrice"], r"no step gives the outputs \['thrice'\]"),
    ],
)
def test_a_chain_that_does_not_connect_is_refused(inputs: dict[str, str], outputs: list[str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Chain([Link(Doubled(), inputs, {"y": "twice"})], ["number"], outputs)


def test_a_graph_refuses_a_wrong_request_alone_and_answers_its_mates_as_alone(repository: Path) -> None:
    model = DirectModel.open(repository / "lrea_scorer")
    good = [one.inputs for one in golden.read(repository / "lrea_scorer" / "1" / "golden.safetensors")[:3]]
    wrong = {**good[0], "candidates": np.array([[-1]])}
    answers = OnnxStep(model).answer([good[0], wrong, good[1], good[2]])
    assert isinstance(answers[1], Refusal)
    assert "-1 is negative" in answers[1].reason
    for request, answer in zip(good, [answers[0], *answers[2:]], strict=True):
        assert isinstance(answer, dict)
        np.testing.assert_allclose(answer["scores"], model.run([request])[0]["scores"], atol=1e-6)


@pytest.mark.triton_server
def test_a_served_ensemble_is_one_model_that_batches_and_asks_no_other(repository: Path, lrea_client: Admin) -> None:
    good = golden.read(repository / "lrea" / "1" / "golden.safetensors")
    models = ("lrea", "lrea_scorer")
    before = {name: lrea_client.statistics(name) for name in models}

    def ask(number: int) -> None:
        one = good[number % len(good)]
        assert golden.compare(one.outputs, lrea_client.infer("lrea", one.inputs), 1e-5).ok

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(200)))
    after = {name: lrea_client.statistics(name) for name in models}
    assert after["lrea"].requests - before["lrea"].requests == 200
    assert after["lrea"].executions - before["lrea"].executions < 200
    assert after["lrea_scorer"].requests == before["lrea_scorer"].requests


@pytest.mark.triton_server
def test_a_step_that_lacks_the_ensembles_version_is_named(broken: Path, tmp_path: Path) -> None:
    shutil.move(broken / "lrea_scorer" / "1", broken / "lrea_scorer" / "2")
    options = ServerOptions(state=tmp_path / "state", log=tmp_path / "log")
    with pytest.raises(StartupError, match="lrea_scorer has no version 1: an ensemble's steps are published together"):
        TritonServer(broken, options).start()

"""Models of a repository in this process: graphs, steps and ensembles, whichever they are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from serving import golden
from serving.backends.fused.chain import open_model
from serving.in_process import Here, InProcessModel
from serving.steps.step import Tensors
from tests.serving import state_models as tiny


@pytest.mark.parametrize("model", ["lrea", "lrea_encoder", "lrea_scorer", "lrea_state"])
def test_every_model_of_a_release_answers_its_goldens_together_as_alone(repository: Path, model: str) -> None:
    goldens = golden.read(repository / model / "1" / "golden.safetensors")
    opened = InProcessModel.open(repository / model)
    together = opened.run([one.inputs for one in goldens])
    for one, found in zip(goldens, together, strict=True):
        assert golden.compare(one.outputs, found, 1e-5).ok
        assert golden.compare(found, opened.run([one.inputs])[0], 1e-5).ok


class Counted(Here):
    """Remembers how many users each question to an encoder was about."""

    def __init__(self, repository: Path) -> None:
        super().__init__(repository, "cpu")
        self.asked: list[int] = []

    def ask(self, model: str, version: int, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        self.asked.append(len(next(iter(inputs.values()))))
        return super().ask(model, version, inputs, outputs)


def test_a_state_that_was_computed_once_is_at_hand(repository: Path) -> None:
    host = Counted(repository)
    opened = InProcessModel(open_model(host, repository / "lrea", "1"), keeps_states=host.keeps_states)
    assert opened.keeps_states
    requests = [{"user_id": np.array([[user]]), "candidates": np.array([[1, 2, 3]])} for user in (1, 2, 1)]
    first = opened.run(requests)
    assert host.asked == [2]
    again = opened.run(requests)
    assert host.asked == [2], "nobody was asked again"
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one["scores"], other["scores"])


def test_a_graph_keeps_no_states(repository: Path) -> None:
    assert not InProcessModel.open(repository / "lrea_scorer").keeps_states


def test_a_wrong_request_is_refused_as_the_server_refuses_it(repository: Path) -> None:
    for model in ("lrea", "lrea_state"):
        with pytest.raises(ValueError, match="candidates is empty: send at least one item id"):
            InProcessModel.open(repository / model).run(
                [{"user_id": np.array([[1]]), "candidates": np.zeros((1, 0), np.int64)}]
            )


def test_a_model_that_is_no_step_is_named(tmp_path: Path) -> None:
    folder = tiny.write_state_model(tmp_path / "lone" / "1")
    config = folder.parent / "config.pbtxt"
    for text, named in (("oracle", "'oracle'"), ("", "''")):
        config.write_text(
            tiny.USER_STATE.replace(
                '"step" value { string_value: "user_state"', f'"step" value {{ string_value: "{text}"'
            )
        )
        with pytest.raises(ValueError, match=f"lone is no step: the parameter 'step' .* is {named}, which must be one"):
            InProcessModel.open(folder.parent)

"""CSMF as it is served: weights of objectives in a request, what is refused, and why an item is listed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from serving.direct import DirectModel
from tests.training.test_every_system import ready, released, repository
from training.asking import Question, Tensors
from training.layers.objective_weights import ALPHA, MOST, alpha_of
from training.servable import Signature
from training.system import prepare
from training.systems.csmf import SYSTEM, Config
from training.tasks.retrieval import RETRIEVAL
from training.tasks.retrieval_served import NO_SCORE

pytestmark = pytest.mark.slow(20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("every")


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, DirectModel]:
    return {one.name: DirectModel.open(repository("csmf", folder) / one.name) for one in released("csmf", folder)}


def request(*alpha: float, user: int = 7) -> Tensors:
    asked = RETRIEVAL.request(ready("csmf").data.interactions, Question(user=user, history=(), candidates=(), most=9))
    return {**asked, ALPHA: np.array([alpha], np.float32)}


def lists(model: DirectModel, *alpha: float) -> Mapping[str, np.ndarray]:
    return model.run([request(*alpha)])[0]


def test_a_release_is_a_vector_the_objectives_of_items_and_a_list(folder: Path) -> None:
    release = released("csmf", folder)
    assert [one.name for one in release] == ["csmf_user", "csmf_item", "csmf_objectives", "csmf"]
    inputs = {one.name: [spec.name for spec in one.inputs if spec.of is None] for one in release}
    assert inputs["csmf"] == inputs["csmf_user"] == ["history", "user_id", "alpha"]
    assert inputs["csmf_objectives"] == ["history", "user_id", "items"]
    (alpha,) = (spec for spec in release[-1].inputs if spec.name == ALPHA)
    assert (alpha.shape, alpha.dtype, alpha.neutral) == ((3,), "float32", "1")


def test_the_vector_is_as_wide_as_that_of_two_plain_towers(models: dict[str, DirectModel]) -> None:
    vector = models["csmf_user"].run([request(1, 1, 1)])[0]["vector"]
    assert vector.shape == (1, Config().dim)


@pytest.mark.parametrize(
    ("alpha", "told"),
    [
        ((1, -0.5, 1), "input 'alpha': -0.5 is negative; send 0 or more"),
        ((1, np.nan, 1), "input 'alpha' holds NaN; send numbers"),
        ((1, np.inf, 1), f"input 'alpha': inf is above {MOST}; send {MOST} or less"),
    ],
)
def test_weights_that_are_none_are_refused_and_answered_by_nan_where_nobody_checks(
    models: dict[str, DirectModel], alpha: tuple[float, ...], told: str
) -> None:
    for name in ("csmf", "csmf_user"):
        with pytest.raises(ValueError, match=told):
            models[name].run([request(*alpha)])
        answer = models[name].run_checked([request(*alpha), request(1, 1, 1)])
        assert all(np.isnan(part).all() for key, part in answer[0].items() if key != "items")
        assert not any(np.isnan(part).any() for part in answer[1].values()), "the others of a batch are well"
    assert (models["csmf"].run_checked([request(*alpha)])[0]["items"] == 0).all()


def test_who_weighs_nothing_gets_no_items(models: dict[str, DirectModel]) -> None:
    answer = lists(models["csmf"], 0, 0, 0)
    assert (answer["items"] == 0).all()
    assert (answer["scores"] == NO_SCORE).all()


def test_weights_decide_the_list_and_an_objective_alone_scores_as_its_part_says(models: dict[str, DirectModel]) -> None:
    found = {place: lists(models["csmf"], *row) for place, row in enumerate(np.eye(3).tolist())}
    assert len({tuple(one["items"][0, :10].tolist()) for one in found.values()}) == 3
    for place, one in found.items():
        asked = {name: array for name, array in request(1, 1, 1).items() if name != ALPHA}
        parts = models["csmf_objectives"].run([{**asked, "items": one["items"]}])[0]["parts"]
        np.testing.assert_allclose(parts[0, :, place], one["scores"][0], rtol=0, atol=1e-6)


def test_reasons_are_what_each_objective_gives_each_listed_item(models: dict[str, DirectModel]) -> None:
    interactions, asked = ready("csmf").data.interactions, request(1, 0.5, 2)
    answer = dict(models["csmf"].run([asked])[0])
    answer["scores"][0, -1] = NO_SCORE

    def infer(name: str, tensors: Tensors) -> Tensors:
        return dict(models[name].run([tensors])[0])

    assert SYSTEM.explained is not None
    (shown,) = SYSTEM.explained(infer, "csmf", interactions, asked, answer)
    assert shown.title == "score by objective; weighed 1 seen, 0.5 clicked, 2 bought"
    assert shown.columns == ("title", "item", "seen", "clicked", "bought")
    assert len(shown.rows) == answer["items"].shape[1] - 1
    for row, item, score in zip(shown.rows, answer["items"][0], answer["scores"][0], strict=False):
        assert row[:2] == [f"Item {item}", item]
        assert np.dot([1, 0.5, 2], np.array(row[2:], float)) == pytest.approx(score, abs=1e-5)


def test_a_control_with_one_list_takes_no_weights_and_has_no_reasons() -> None:
    one = ready("csmf")
    config = Config(way="last")
    torch.manual_seed(0)
    module = SYSTEM.build(config, one.data.schema)
    prepare(module, one.data)
    assert alpha_of(module) is None
    release: tuple[Signature, ...] = SYSTEM.release(module.eval(), config, one.data)
    assert [signature.name for signature in release] == ["csmf_user", "csmf_item", "csmf"]
    assert all(spec.name != ALPHA for signature in release for spec in signature.inputs)
    assert SYSTEM.explained is not None
    assert SYSTEM.explained(lambda name, tensors: {}, "csmf", one.data.interactions, {}, {}) == []

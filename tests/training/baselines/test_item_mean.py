import numpy as np
import pytest
import torch

from training.baselines.item_mean import SYSTEM, Config, ItemMean
from training.data.tracing import TracingData
from training.layers.tracer import fold_gap
from training.loop import predict
from training.metrics import auc
from training.system import PLAIN
from training.tasks.tracing import TRACING, variant_of


@pytest.fixture(scope="module")
def data() -> TracingData:
    return TRACING.view(TRACING.planted(), PLAIN)


@pytest.fixture(scope="module")
def model(data: TracingData) -> ItemMean:
    built = ItemMean(Config(), data.schema)
    with torch.no_grad():
        built.prepare(data)
    return built.eval()


def test_it_is_the_share_of_right_answers_in_the_training_part(model: ItemMean, data: TracingData) -> None:
    train, test = data.train.measured(), data.test.measured()
    prior = train.label.mean()
    shares = {
        question: (train.label[train.question == question].sum() + prior) / ((train.question == question).sum() + 1)
        for question in range(1, len(data.concepts))
    }
    asked = torch.tensor([3, 7, 2**40, -1])
    state = model.start(torch.zeros(4, dtype=torch.int64))
    by_hand = torch.tensor([shares[3], shares[7], prior, prior], dtype=torch.float32)
    torch.testing.assert_close(model.ask(state, asked).sigmoid(), by_hand)
    scores = np.array([shares[question] for question in test.question.tolist()])
    assert TRACING.evaluate(model, predict, data.test)["auc"] == pytest.approx(auc(test.label, scores), abs=1e-6)


def test_its_mastery_is_of_concepts_and_says_nothing_of_a_student(model: ItemMean, data: TracingData) -> None:
    train = data.train.measured()
    asks = (data.concepts[train.question] == 2).any(axis=1)
    mastery = model.mastery(model.after(data.test.batch(np.arange(2))))
    assert mastery.shape == (2, data.concepts.max())
    by_hand = (train.label[asks].sum() + train.label.mean()) / (asks.sum() + 1)
    assert mastery[:, 1].tolist() == pytest.approx([by_hand] * 2)
    assert TRACING.evaluate(model, predict, data.test)["mastery"] == 0


def test_sequence_form_is_the_fold_of_its_steps(model: ItemMean, data: TracingData) -> None:
    assert fold_gap(model, data.test.batch(np.arange(16))) == 0
    assert model.after(data.test.batch(np.arange(2))).answers[:, 0].tolist() == data.test.cost()[:2].tolist()


def test_a_random_split_is_named_as_what_it_is() -> None:
    assert SYSTEM.variant(Config()) == ""
    assert variant_of(Config(split="random")) == "leaking-random-split"

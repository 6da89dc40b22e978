from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from training.baselines.pfa import PFA, Config, PFAState
from training.data.tracing import TracingBatch, TracingData
from training.loop import predict
from training.metrics import auc, rank_correlation
from training.system import PLAIN
from training.tasks.tracing import TRACING
from training.tasks.tracing_slices import BINS, SLICES, calibration


@pytest.fixture(scope="module")
def data() -> TracingData:
    return TRACING.view(TRACING.planted(), PLAIN)


class Knowing(PFA):
    """Says the true abilities of every student that it knows."""

    def __init__(self, data: TracingData, sign: float = 1.0) -> None:
        super().__init__(Config(), data.schema)
        self.prepare(data)
        self.sign = sign
        self.ability = torch.from_numpy(data.interactions.truth["ability"])

    def after(self, batch: TracingBatch) -> PFAState:
        ability = self.ability[batch.student]
        return PFAState(ability, torch.zeros_like(ability))

    def mastery(self, state: PFAState) -> Tensor:
        return (self.sign * state.wins[:, 1:]).sigmoid()


def measured(data: TracingData, module: nn.Module) -> dict[str, float]:
    return TRACING.evaluate(module.eval(), predict, data.test)


def test_the_true_probabilities_stand_beside_a_model_that_cannot_beat_them(data: TracingData) -> None:
    found, answers = measured(data, Knowing(data)), data.test.measured()
    probability = data.interactions.events["probability"].to_numpy()[answers.row]
    assert found["oracle auc"] == auc(answers.label, probability)
    new = answers.is_new
    assert found["oracle auc new"] == auc(answers.label[new], probability[new])
    assert found["oracle auc"] > found["auc"]


def test_answers_are_measured_by_how_many_came_before(data: TracingData) -> None:
    torch.manual_seed(0)
    module = Knowing(data)
    nn.init.normal_(module.question)
    found, answers = measured(data, module), data.test.measured()
    logits = module.question.detach().numpy()[answers.question]
    ranges = {"auc 1-10": (0, 10), "auc 11-50": (10, 50), "auc 51-100": (50, 100), "auc 101-": (100, 10**6)}
    assert {column.metric for column in SLICES} >= {*ranges}
    for name, (first, end) in ranges.items():
        rows = (answers.step >= first) & (answers.step < end)
        assert found[name] == auc(answers.label[rows], logits[rows])
    assert len({round(found[name], 6) for name in ranges}) == len(ranges)


def test_mastery_is_compared_with_ability_within_each_concept(data: TracingData) -> None:
    """New students are nobody to it, and have the same mastery."""
    truth = Knowing(data)
    assert 0.8 < measured(data, truth)["mastery"] < 1
    assert measured(data, Knowing(data, sign=-1.0))["mastery"] == pytest.approx(-measured(data, truth)["mastery"])
    assert measured(data, Knowing(data, sign=0.0))["mastery"] == 0


def test_mastery_is_compared_where_a_student_was_asked(data: TracingData) -> None:
    few = data.interactions.events.filter(pl.int_range(pl.len()).over("user") < 5)
    cut = TRACING.view(replace(data.interactions, events=few), PLAIN)
    known = cut.test.abilities()
    assert known is not None
    assert np.isnan(known.ability).mean() > 0.1
    model = Knowing(cut)
    batch = cut.test.batch(known.sample)
    said = model.mastery(model.after(batch)).numpy()
    there = ~np.isnan(known.ability)
    by_hand = [
        rank_correlation(own[met], true[met]) for own, true, met in zip(said.T, known.ability.T, there.T, strict=True)
    ]
    assert measured(cut, model)["mastery"] == pytest.approx(np.mean(by_hand), abs=1e-6)


def test_a_set_of_people_has_neither_ceiling_nor_abilities(data: TracingData) -> None:
    bare = replace(data.interactions, events=data.interactions.events.drop("probability"), truth={})
    found = measured(TRACING.view(bare, PLAIN), Knowing(data))
    assert {name for name in found if "oracle" in name or name == "mastery"} == set()
    assert found["auc"] == measured(data, Knowing(data))["auc"]


def test_calibration_is_by_bins_of_as_many_answers() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=20_000).astype(np.float32)
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    label = (random.random(len(logits)) < probability).astype(np.float32)
    found = calibration(label, logits)
    assert found["calibration error"] < 0.01
    order = np.argsort(logits)
    for number in range(BINS):
        rows = order[number * 2_000 : (number + 1) * 2_000]
        assert found[f"calibration {number} predicted"] == pytest.approx(probability[rows].mean())
        assert found[f"calibration {number} right"] == pytest.approx(label[rows].mean())
    assert calibration(label, logits + 1)["calibration error"] > 0.1
    assert calibration(label[:3], logits[:3]).keys() >= {"calibration 2 right"}
    assert "calibration 3 right" not in calibration(label[:3], logits[:3])


def test_rank_correlation_is_of_ranks_with_ties_in_the_middle() -> None:
    assert rank_correlation(np.array([1.0, 2.0, 30.0]), np.array([0.1, 0.2, 0.3])) == pytest.approx(1)
    assert rank_correlation(np.array([1.0, 1.0, 2.0]), np.array([3.0, 1.0, 2.0])) == pytest.approx(0)
    with pytest.raises(ValueError, match="two different values"):
        rank_correlation(np.ones(3), np.arange(3.0))
    with pytest.raises(ValueError, match="not a number"):
        rank_correlation(np.array([1.0, np.nan]), np.arange(2.0))

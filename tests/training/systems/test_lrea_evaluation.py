"""What is published of LREA, and what its training minimises."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.training.systems.lrea_models import SMALL, data, model, train
from training.loop import predict
from training.systems.lrea import LREA, evaluate, lrea_loss, stages
from training.tasks.click import quality


def signed(built: LREA) -> LREA:
    """With large scores of both signs, so that the ReLU and the loss have something to do."""
    with torch.no_grad():
        for part in (built.query, built.key, built.value):
            part.weight.mul_(8)
        built.bias.fill_(-0.02)
    return built


def logits(built: LREA, *, linear: bool) -> np.ndarray:
    with torch.no_grad():
        return built.predict(data().train.batch(np.arange(len(data().train))), linear=linear).logits.numpy()


def test_the_published_figures_are_those_of_the_trained_form_and_the_served_ones_those_without_relu() -> None:
    built = signed(train(SMALL, steps=30))
    with torch.no_grad():
        prediction = built.predict(data().train.batch(np.arange(len(data().train))))
    found = evaluate(built, predict, data().train)
    trained, served = (quality(data().train, logits(built, linear=linear)) for linear in (False, True))
    assert {name: found[name] for name in trained} == pytest.approx(trained, abs=1e-5)
    assert {name: found[f"served_{name}"] for name in served} == pytest.approx(served, abs=1e-5)
    assert trained["log_loss"] != pytest.approx(served["log_loss"], abs=1e-5)
    negative = whole = 0.0
    for row, length in enumerate(data().train.cost().tolist()):
        own = prediction.scores[row, :, :length]
        negative -= float(own[own < 0].sum())
        whole += float(own.abs().sum())
    assert found["negative_share"] == pytest.approx(negative / whole, rel=1e-4)
    assert 0.05 < found["negative_share"] < 0.95


def test_training_minimises_entropy_and_the_weighted_negative_share() -> None:
    built, batch = signed(model()), data().train.batch(np.arange(80))
    with torch.no_grad():
        prediction = built.predict(batch)
    entropy = functional.binary_cross_entropy_with_logits(prediction.logits, batch.label).item()
    masked = prediction.scores * prediction.mask[:, None]
    share = float(-masked.clamp(max=0).sum() / masked.abs().sum())
    assert share > 0.05
    for weight in (0.0, 0.7):
        assert lrea_loss(built, batch, weight)[0].item() == pytest.approx(entropy + weight * share, rel=1e-5)


@pytest.mark.parametrize(("done", "weight"), [(0.05, 0.0), (0.15, 0.15), (0.5, 0.3)])
def test_the_stage_warms_the_non_negativity_loss_up(done: float, weight: float) -> None:
    built, batch = signed(model()), data().train.batch(np.arange(80))
    (stage,) = stages(SMALL)
    torch.testing.assert_close(stage.loss(built, batch, done)[0], lrea_loss(built, batch, weight)[0])

"""What CMVF learns from simulated students of four modes, around the factor model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.systems.cmvf_models import LONG, SMALL, data, distributions, everyone, trained
from training.loop import predict
from training.systems.cmvf import CMVF, Config
from training.systems.cmvf.evaluation import Modes, evaluate

pytestmark = pytest.mark.long

BY_PREFIX = replace(
    SMALL, base="pfa", modes=4, temperature=0.1, epochs=5, batch_size=8, learning_rate=3e-2, max_length=10_000
)
BY_ID = replace(BY_PREFIX, posterior="id")
both = pytest.mark.parametrize("config", [BY_PREFIX, BY_ID], ids=["prefix", "id"])


def measured(config: Config) -> dict[str, float]:
    return evaluate(trained(config, LONG), predict, data(LONG).test)


@both
def test_modes_are_those_of_the_simulation(config: Config) -> None:
    assert measured(config)["mode nmi"] > 0.5


@both
def test_students_of_a_mode_have_priors_that_are_near_each_other(config: Config) -> None:
    module, split = trained(config, LONG), data(LONG).test
    share, true = predict(Modes(module), split, batch_size=64), split.modes()
    assert module.prior is not None
    assert true is not None
    centre = share @ module.prior.mean.detach().numpy()
    apart = np.linalg.norm(centre[:, None] - centre, axis=-1)
    same = true[:, None] == true
    assert apart[same].mean() < apart[~same].mean() / 2


def test_modes_are_worth_something_to_new_students() -> None:
    """The control has one prior for all, and differs in nothing else."""
    assert measured(BY_PREFIX)["auc new"] > measured(replace(BY_PREFIX, modes=1))["auc new"] + 0.02


def test_who_gave_few_answers_stays_near_the_prior_and_is_less_certain() -> None:
    module = trained(BY_ID)
    batch = everyone()
    samples = module.source.samples(batch.student)
    few, many = divergence(module, samples <= 5), divergence(module, samples >= 100)
    assert few.sum() > 0
    assert few.mean() < many.mean() / 2
    posterior, _ = distributions(module, module.before(batch))
    deviation = (posterior.log_variance / 2).exp().mean(dim=-1)[:, 0]
    assert deviation[samples <= 5].mean() > deviation[samples >= 100].mean()


def test_first_answers_stay_nearer_the_prior_than_later_ones() -> None:
    module = trained(BY_PREFIX)
    place = torch.arange(everyone().questions.shape[1])
    assert divergence(module, place <= 3).mean() < divergence(module, place >= 50).mean()


def test_the_divergence_leaves_nothing_but_modes_in_the_vector() -> None:
    """That of the exact bound is heavy here."""
    exact, none = (shift(trained(replace(BY_PREFIX, beta=beta), LONG)) for beta in (1.0, 0.0))
    assert exact < 0.05
    assert none > 0.5


def divergence(module: CMVF, chosen: torch.Tensor) -> torch.Tensor:
    """Of the training answers of chosen students or at chosen places."""
    batch = everyone()
    each = module.source.divergence(*distributions(module, module.before(batch)))
    there = batch.counts > 0
    rows = chosen[:, None] if len(chosen) == len(each) else chosen
    return each[there & rows]


def shift(module: CMVF) -> float:
    """How far vectors lie from the mean of their modes, in the length of these."""
    split = data(LONG).test
    batch = split.batch(np.arange(len(split)))
    seen = module.before(batch)
    centre, there = module.centre(seen), batch.counts > 0
    return ((module.vector(seen) - centre)[there].norm() / centre[there].norm()).item()

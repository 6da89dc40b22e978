"""What DEA serves is what it trained: absorbed codebooks and folded tables."""

from dataclasses import replace

import pytest
import torch

from tests.training.systems.dea_models import SMALL, data, model
from training.servable import Servable
from training.systems.dea import Config, servables

VARIANTS = [
    *(pytest.param(replace(SMALL, fusion=mode), id=mode) for mode in ("add", "mul", "gate", "half")),
    *(pytest.param(replace(SMALL, layers=layers), id=f"{layers} layers") for layers in (2, 3)),
]


def ranker(config: Config = SMALL) -> Servable:
    (served,) = servables("dea", model(config), config, data())
    assert isinstance(served, Servable)
    return served


@pytest.mark.parametrize("config", VARIANTS)
def test_the_served_form_equals_the_training_form(config: Config) -> None:
    served = ranker(config)
    assert served.reference is not None
    assert served.eager64 is not None
    inputs = served.example(12, 3)
    (exact,), (in64,), (in32,) = served.reference(*inputs), served.eager64(*inputs), served.eager(*inputs)
    assert float(exact.std()) > 0.01
    torch.testing.assert_close(in64, exact, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(in32, exact.float(), rtol=1e-5, atol=1e-5)


def test_unknown_ids_are_scored_and_negative_items_are_never_answered() -> None:
    served = ranker()
    user, candidates = torch.tensor([[3], [-1], [2**40]]), torch.tensor([5, -2, 5, 5, 2**40, 0])
    (scores,) = served.eager(user, candidates, torch.tensor([2, 3, 6], dtype=torch.int32))
    assert torch.isnan(scores).tolist() == [False, True, False, False, False, False]
    assert scores[4] == scores[5], "both are the unknown item"
    assert scores[2] == scores[3], "any user whom nobody knows has the same empty history"


def test_a_candidate_is_scored_alike_alone_and_in_company() -> None:
    served = ranker(replace(SMALL, layers=2))
    user, candidates, ends = served.example(7, 1)
    (together,) = served.eager(user, candidates, ends)
    start = int(ends[4])
    one = torch.tensor([1], dtype=torch.int32)
    (alone,) = served.eager(user[5:6], candidates[start : start + 1], one)
    torch.testing.assert_close(alone[0], together[start], rtol=1e-6, atol=1e-7)

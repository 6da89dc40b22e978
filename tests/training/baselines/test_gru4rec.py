"""GRU4Rec: its loss, its ranking; a state knows the order of what came before, and nothing of what comes after."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.training.walks import wanted
from training.baselines.gru4rec import Config, GRU4Rec
from training.data.sequences import SequenceData, sequences
from training.data.synthetic_sequences import synthetic_sequences

SMALL = Config(max_length=12, dim=16)


@pytest.fixture(scope="module")
def data() -> SequenceData:
    return sequences(synthetic_sequences(), wanted(SMALL.max_length))


@pytest.fixture
def module(data: SequenceData) -> GRU4Rec:
    torch.manual_seed(0)
    return GRU4Rec(SMALL, data.schema).eval()


def test_a_state_is_the_gated_recurrence_of_the_items_so_far(module: GRU4Rec) -> None:
    """By hand, as the paper has it: reset and update gates, and a candidate."""
    weights, biases = (
        list(zip(*(module.gru.get_parameter(f"{kind}_{side}_l0").chunk(3) for side in ("ih", "hh")), strict=True))
        for kind in ("weight", "bias")
    )
    (reset, update, candidate), (of_reset, of_update, of_candidate) = weights, biases
    state = torch.zeros(SMALL.dim)
    for x in module.items.weight[[4, 7, 9]]:
        r = (reset[0] @ x + of_reset[0] + reset[1] @ state + of_reset[1]).sigmoid()
        z = (update[0] @ x + of_update[0] + update[1] @ state + of_update[1]).sigmoid()
        new = (candidate[0] @ x + of_candidate[0] + r * (candidate[1] @ state + of_candidate[1])).tanh()
        state = (1 - z) * new + z * state
    torch.testing.assert_close(module.states(torch.tensor([[4, 7, 9]]))[0, -1], state)


def test_the_order_of_a_history_matters(module: GRU4Rec) -> None:
    length = torch.tensor([3])
    forwards, backwards = (module.best(torch.tensor([items]), length, 5) for items in ([4, 7, 9], [9, 7, 4]))
    assert not torch.allclose(forwards.scores, backwards.scores)


def test_a_state_knows_nothing_of_later_items(module: GRU4Rec) -> None:
    one, other = module.states(torch.tensor([[4, 7, 9, 2], [4, 7, 30, 31]]))
    torch.testing.assert_close(one[:2], other[:2])
    assert not torch.allclose(one[2], other[2])


def test_the_filling_behind_a_history_changes_nothing(module: GRU4Rec) -> None:
    length = torch.tensor([2])
    short, filled = (module.best(torch.tensor([items]), length, 5) for items in ([4, 7], [4, 7, 0, 0, 0]))
    assert torch.equal(short.items, filled.items)
    torch.testing.assert_close(short.scores, filled.scores)


def test_the_list_after_a_history_is_the_catalogue_by_the_newest_state(module: GRU4Rec) -> None:
    found = module.best(torch.tensor([[4, 7, 9], [30, 0, 0]]), torch.tensor([3, 1]), 60)
    for row, history in enumerate(([4, 7, 9], [30])):
        scores = module.states(torch.tensor([history]))[0, -1] @ module.items.weight.T
        order = [item for item in scores.argsort(descending=True).tolist() if item not in (0, *history)]
        assert found.items[row].tolist() == order + [0] * len(history)


def test_the_loss_is_that_of_each_place_that_has_a_target(module: GRU4Rec, data: SequenceData) -> None:
    batch = data.train.batch(np.arange(20))
    places = batch.targets > 0
    logits = module.states(batch.items)[places] @ module.items.weight[1:].T
    expected = functional.cross_entropy(logits, batch.targets[places] - 1)
    torch.testing.assert_close(module.loss(batch, 0.0)[0], expected)

"""How beams become a list of items."""

import math

import numpy as np
import pytest
import torch

from training.systems.reg4rec.catalogue import Catalogue
from training.systems.reg4rec.decode import Decoded
from training.systems.reg4rec.ranking import merged, ranked


def test_paths_of_one_set_merge_into_the_first_one() -> None:
    scores, tuples = torch.tensor([[-1.0, -2.0, -3.0, -torch.inf]]), torch.tensor([[4, 7, 4, -1]])
    total, first = merged(scores, tuples, "logsumexp")
    assert first.tolist() == [[True, True, False, False]]
    assert total[0, 0].item() == pytest.approx(math.log(math.exp(-1) + math.exp(-3)))
    assert total[0, 1:].tolist() == [-2.0, -math.inf, -math.inf]
    assert merged(scores, tuples, "max")[0].tolist() == [[-1.0, -2.0, -math.inf, -math.inf]]


def test_the_list_is_by_score_then_id_without_what_was_seen() -> None:
    codes = np.array([[0, 0], [2, 2], [1, 1], [1, 1], [0, 0], [0, 1]])
    catalogue = Catalogue(codes, np.array([0, 1, 1, 5, 1, 1]), 3, masked=False)
    sets = torch.tensor([[[0, 0], [2, 2], [1, 1], [2, 0], [0, 1]]], dtype=torch.int32)
    scores = torch.tensor([[-1.0, -1.0, -2.0, -0.5, -0.1]])
    nothing = torch.zeros_like(sets)
    decoded = Decoded(scores, sets, nothing, nothing, nothing[:, 0, 0], nothing[:, 0, 0])
    found = ranked(decoded, catalogue, torch.tensor([[5, 0]]), 6)
    assert found.items.tolist() == [[1, 4, 3, 2, 0, 0]]
    assert found.scores.tolist() == [[-1.0, -1.0, -2.0, -2.0, -math.inf, -math.inf]]
    assert found.beams.tolist() == [[1, 0, 2, 2, -1, -1]]
    assert ranked(decoded, catalogue, torch.tensor([[5, 0]]), 3).items.tolist() == [[1, 4, 3]]

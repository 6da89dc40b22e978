"""The embedding of categorical fields: what has a row, what shares one, and what stands in for a dropped field."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.layers.fields import FieldConfig, FieldEmbedding, pair_sum, with_unknown

TRAIN = np.array([[1, 2], [1, 2], [2, 2], [1, 1], [-3, 3], [9, 3]])
"""Field 0: id 1 three times, 2 once, two of no known range. Field 1: 2 and 3 are frequent, 1 is not."""
LARGE = 2**62


@pytest.fixture
def embedding() -> FieldEmbedding:
    made = FieldEmbedding((3, 4), 5)
    made.prepare(TRAIN)
    return made


def test_rare_and_impossible_ids_are_the_unknown_of_their_own_field(embedding: FieldEmbedding) -> None:
    ids = torch.tensor([[1, 2], [2, 1], [-1, -LARGE], [3, 4], [LARGE, LARGE], [0, 0], [2, 3]])
    assert embedding.known(ids).tolist() == [[1, 2], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0], [0, 3]]
    vectors = embedding(ids)
    assert torch.equal(vectors[1], vectors[5])
    assert torch.equal(vectors[0], embedding.rows.weight[[1, 3 + 2]])


def test_training_counts_are_those_of_the_rows_in_use(embedding: FieldEmbedding) -> None:
    assert embedding.frequency.tolist() == [3, 3, 0, 1, 0, 3, 2]


def test_the_mean_of_a_field_is_the_mean_over_the_training_samples(embedding: FieldEmbedding) -> None:
    expected = embedding(torch.from_numpy(TRAIN)).mean(dim=0)
    torch.testing.assert_close(embedding.means(), expected)


def test_a_dropped_field_has_its_mean_and_keeping_all_changes_no_bit(embedding: FieldEmbedding) -> None:
    ids = torch.tensor([[1, 2], [2, 3]])
    kept = embedding(ids, torch.tensor([[True, False], [True, True]]))
    assert torch.equal(kept[0, 1], embedding.means()[1])
    assert torch.equal(kept[1], embedding(ids)[1])
    assert torch.equal(embedding(ids, torch.ones(2, 2, dtype=torch.bool)), embedding(ids))


def test_prepare_forgets_the_set_before(embedding: FieldEmbedding) -> None:
    embedding.prepare(np.array([[2, 1], [2, 1]]))
    assert embedding.known(torch.tensor([[1, 2], [2, 1]])).tolist() == [[0, 0], [2, 1]]
    assert int(embedding.frequency.sum()) == 4


def test_the_pair_sum_is_the_sum_over_all_pairs() -> None:
    vectors = torch.randn(3, 4, 2, dtype=torch.float64)
    pairs = [(vectors[:, i] * vectors[:, j]).sum(1) for i in range(4) for j in range(i)]
    torch.testing.assert_close(pair_sum(vectors), torch.stack(pairs).sum(0))


def test_the_asked_share_of_ids_becomes_unknown() -> None:
    ids = torch.full((1000, 8), 7)
    torch.manual_seed(0)
    changed = with_unknown(ids, 0.1)
    assert set(changed.unique().tolist()) == {0, 7}
    assert abs(float((changed == 0).double().mean()) - 0.1) < 0.02
    assert torch.equal(with_unknown(ids, 0.0), ids)


@pytest.mark.parametrize(("name", "value"), [("unknown_rate", 1.0), ("dropout", -0.1)])
def test_a_share_beyond_its_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}; it must be at least 0 and below 1"):
        replace(FieldConfig(), **{name: value})

"""The catalogue as samples."""

import numpy as np
import pytest
import torch

from training.data.catalogue import catalogue_data
from training.data.synthetic_sequences import synthetic_sequences


def test_every_item_is_tested_and_a_twentieth_validates_what_the_rest_trains() -> None:
    data = catalogue_data(synthetic_sequences())
    assert data.test.item.tolist() == list(range(1, 61))
    assert len(data.validation) == 3
    assert sorted([*data.train.item, *data.validation.item]) == data.test.item.tolist()


def test_a_batch_has_the_vectors_of_its_items() -> None:
    sequences = synthetic_sequences()
    behaviour = torch.arange(61 * 2).reshape(61, 2).float()
    data = catalogue_data(sequences.with_given({"item_vectors": behaviour}))
    batch = data.test.batch(np.array([4, 0]))
    assert batch.item.tolist() == [5, 1]
    assert torch.equal(batch.behaviour, behaviour[[5, 1]])
    assert np.array_equal(batch.text.numpy(), sequences.content.text[[5, 1]])
    assert [(field.name, field.width) for field in data.schema.fields[2:]] == [
        ("text", 384),
        ("graph", 16),
        ("behaviour", 2),
    ]


def test_vectors_of_another_catalogue_are_refused() -> None:
    with pytest.raises(ValueError, match="item_vectors has 7 rows, the catalogue 61"):
        catalogue_data(synthetic_sequences().with_given({"item_vectors": torch.zeros(7, 2)}))

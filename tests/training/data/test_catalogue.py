"""The catalogue as samples."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.walks import interactions
from training.data.catalogue import CatalogueData, catalogue
from training.data.synthetic_sequences import synthetic_sequences
from training.schema import Schema
from training.system import Wanted


def made(**given: torch.Tensor) -> CatalogueData:
    return catalogue(synthetic_sequences(), Wanted(frozenset(), 12, given))


def test_every_item_is_tested_and_a_twentieth_validates_what_the_rest_trains() -> None:
    data = made()
    assert data.test.item.tolist() == list(range(1, 61))
    assert len(data.validation) == 3
    assert sorted([*data.train.item, *data.validation.item]) == data.test.item.tolist()


def test_a_batch_has_the_vectors_of_its_items() -> None:
    behaviour = torch.arange(61 * 2).reshape(61, 2).float()
    data = made(item_vectors=behaviour)
    batch = data.test.batch(np.array([4, 0]))
    assert batch.item.tolist() == [5, 1]
    assert torch.equal(batch.behaviour, behaviour[[5, 1]])
    assert np.array_equal(batch.text.numpy(), data.interactions.content.text[[5, 1]])
    widths = {name: data.schema[name].width for name in ("text", "graph", "behaviour")}
    assert widths == {"text": 384, "graph": 16, "behaviour": 2}


def test_vectors_of_another_catalogue_are_refused() -> None:
    with pytest.raises(ValueError, match="item_vectors has 7 rows, the catalogue 61"):
        made(item_vectors=torch.zeros(7, 2))


def test_items_have_ids_where_nobody_chose_any_but_no_sequences() -> None:
    whole = synthetic_sequences()
    alone = tuple(field for field in whole.schema.fields if field.role == "item")
    data = catalogue(replace(whole, schema=Schema(dataset="shop", fields=alone)), Wanted(frozenset(), 12, {}))
    assert len(data.test) == 60
    with pytest.raises(ValueError, match="shop cannot be used for next_item: it lacks ids of users"):
        _ = data.sequences


def test_items_without_content_are_refused_with_a_remedy() -> None:
    with pytest.raises(
        ValueError, match="hand-made cannot be used for semantic_ids: it lacks texts of items; own tables: add a field"
    ):
        catalogue(interactions([[1, 2, 3]]), Wanted(frozenset(), 12, {}))

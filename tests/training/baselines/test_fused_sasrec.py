"""Fused SASRec: an item is the sum of what is known of it, one that is new too; what is served is what was trained."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from training.baselines import fused_sasrec
from training.baselines.fused_sasrec import Config, FusedSASRec
from training.data.sequences import CONTENT, SequenceData, sequences
from training.data.synthetic_sequences import synthetic_sequences
from training.layers.folded import Folded
from training.layers.item_sides import with_unknown
from training.system import Wanted

SMALL = Config(max_length=12, dim=16, layers=1, item_penalty=0.0)


@pytest.fixture(scope="module")
def data() -> SequenceData:
    return sequences(synthetic_sequences(), Wanted(frozenset({CONTENT}), SMALL.max_length, {}))


def built(data: SequenceData, config: Config = SMALL) -> FusedSASRec:
    torch.manual_seed(0)
    module = FusedSASRec(config, data.schema)
    module.prepare(data)
    return module.eval()


def test_an_item_is_the_sum_of_its_id_its_category_and_its_two_vectors_through_a_layer_each(data: SequenceData) -> None:
    module = built(data)
    assert module.sides.names == ("category", "text", "graph")
    (table,) = module.tables()
    fields = module.sides.fields
    assert fields is not None
    for item in (1, 7, 60):
        parts = [module.items.weight[item], fields.rows.weight[data.categories[item]]]
        for layer, vectors in zip(module.sides.layers, (data.content.text, data.content.graph), strict=True):
            parts.append(layer(torch.from_numpy(vectors[item])))
        torch.testing.assert_close(table[item], torch.stack(parts).sum(0))


def test_a_set_without_content_and_fields_leaves_the_id(data: SequenceData) -> None:
    bare = replace(synthetic_sequences(), load_content=None)
    fields = tuple(field for field in bare.schema.fields if field.name != "category")
    view = sequences(replace(bare, schema=replace(bare.schema, fields=fields)), Wanted(frozenset({CONTENT}), 12, {}))
    module = built(view)
    assert module.sides.names == ()
    assert torch.equal(module.tables()[0], module.items.table())


def test_content_is_read_only_by_who_asks_for_it(data: SequenceData) -> None:
    plain = sequences(synthetic_sequences(), Wanted(frozenset(), 12, {}))
    assert plain.schema == plain.interactions.schema
    assert [field.name for field in data.schema.fields[len(plain.schema.fields) :]] == ["text", "graph"]


def test_the_loss_is_the_entropy_among_the_items_that_train(data: SequenceData) -> None:
    batch = data.train.batch(np.arange(20))
    unused = next(item for item in range(60, 0, -1) if not (batch.targets == item).any())
    counts = data.train_item_counts.copy()
    counts[unused] = 0
    module = built(replace(data, train_item_counts=counts))
    (table,) = module.tables()
    places = batch.targets > 0
    logits = module.after(table[batch.items])[places] @ table.T
    logits[:, [0, unused]] = -torch.inf
    torch.testing.assert_close(module.loss(batch, 0.0)[0], functional.cross_entropy(logits, batch.targets[places]))
    module.item_penalty = 0.1
    penalty = 0.05 * table.square().sum()
    torch.testing.assert_close(
        module.loss(batch, 0.0)[0], functional.cross_entropy(logits, batch.targets[places]) + penalty
    )


def test_a_share_of_the_ids_is_unknown_in_each_training_step_and_none_afterwards(data: SequenceData) -> None:
    module = built(data, replace(SMALL, unknown_rate=0.3))
    torch.manual_seed(0)
    drawn = [with_unknown(module.items, 0.3)[1:] for _ in range(30)]
    unknown = torch.stack([(one == module.items.weight[0]).all(1) for one in drawn]).float()
    assert 0.25 < float(unknown.mean()) < 0.35
    assert float(unknown.mean(0).max()) < 1
    assert not torch.equal(module.train().tables()[0], module.tables()[0])
    assert torch.equal(module.eval().tables()[0], module.tables()[0])


def test_an_item_that_never_trains_is_told_by_its_sides_and_the_unknown_s_id(data: SequenceData) -> None:
    counts = data.train_item_counts.copy()
    counts[7] = 0
    module = built(replace(data, train_item_counts=counts))
    torch.testing.assert_close(module.tables()[0][7], module.items.weight[0] + module.sides()[7].sum(0))


def test_tables_that_are_worked_out_once_list_the_same(data: SequenceData) -> None:
    module = built(data)
    items, length = torch.tensor([[4, 7, 9], [30, 0, 0], [-1, 10**9, 3]]), torch.tensor([3, 1, 3])
    found, folded = module.best(items, length, 60), Folded(module).best(items, length, 60)
    assert torch.equal(found.items, folded.items)
    assert torch.equal(found.scores, folded.scores)
    (table,) = module.tables()
    scores = module.after(table[torch.tensor([[4, 7, 9]])])[0, -1] @ table.T
    order = [item for item in scores.argsort(descending=True).tolist() if item not in (0, 4, 7, 9)]
    assert found.items[0, : len(order)].tolist() == order


def test_a_rate_that_leaves_no_id_or_no_unknown_is_refused() -> None:
    for rate in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"unknown_rate is {rate}; it must be above 0 and below 1"):
            fused_sasrec.Config(unknown_rate=rate)

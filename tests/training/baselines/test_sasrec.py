"""SASRec: its loss, its ranking, what a place may know, and what the vectors' lengths tell."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional

from tests.training.walks import wanted
from training.baselines import sasrec
from training.baselines.sasrec import Config, SASRec
from training.data.sequences import SequenceData, sequences
from training.data.synthetic_sequences import synthetic_sequences
from training.fit import FitOptions, fit
from training.layers.transformer import EncoderBlock
from training.loop import predict
from training.ranking_metrics import ranking_quality
from training.tasks.next_item import Places
from training.tasks.next_item_slices import sliced

SMALL = Config(max_length=12, dim=16, layers=1, dropout=0.2, batch_size=32, epochs=12, learning_rate=1e-2)


@pytest.fixture(scope="module")
def data() -> SequenceData:
    return sequences(synthetic_sequences(num_users=300), wanted(SMALL.max_length))


def correlation(data: SequenceData, vectors: torch.Tensor) -> float:
    """Spearman's, of the vectors' lengths and how often the items train."""
    table = pl.DataFrame({"norm": vectors.norm(dim=1).numpy()[1:], "count": data.train_item_counts[1:]})
    return table.select(pl.corr("norm", "count", method="spearman")).item()


def test_the_list_after_a_history_is_the_catalogue_by_the_newest_state(data: SequenceData) -> None:
    torch.manual_seed(0)
    module = SASRec(SMALL, data.schema).eval()
    items, length = torch.tensor([[4, 7, 9], [30, 0, 0]]), torch.tensor([3, 1])
    found = module.best(items, length, 60)
    for row, history in enumerate(([4, 7, 9], [30])):
        scores = module.states(torch.tensor([history]))[0, -1] @ module.items.weight.T
        order = [item for item in scores.argsort(descending=True).tolist() if item not in (0, *history)]
        assert found.items[row].tolist() == order + [0] * len(history)
        torch.testing.assert_close(found.scores[row, : len(order)], scores[order])


def test_a_state_knows_nothing_of_later_items_and_of_the_filling(data: SequenceData) -> None:
    torch.manual_seed(0)
    module = SASRec(SMALL, data.schema).eval()
    items = torch.tensor([[4, 7, 9, 2], [4, 7, 30, 0]])
    states = module.states(items)
    torch.testing.assert_close(states[0, :2], states[1, :2])
    torch.testing.assert_close(module.states(items[1:, :3]), states[1:, :3])
    assert not torch.allclose(states[0, 2], states[1, 2])


def test_the_loss_counts_only_places_that_have_a_target(data: SequenceData) -> None:
    module = SASRec(replace(SMALL, item_penalty=0.0), data.schema).eval()
    batch = data.train.batch(np.arange(20))
    places = batch.targets > 0
    logits = module.states(batch.items)[places] @ module.items.weight[1:].T
    expected = functional.cross_entropy(logits, batch.targets[places] - 1)
    torch.testing.assert_close(module.loss(batch, 0.0)[0], expected)
    module.item_penalty = 0.1
    torch.testing.assert_close(module.loss(batch, 0.0)[0], expected + 0.05 * module.items.weight.square().sum())


def test_the_published_figures_are_those_of_the_item_that_each_user_chose_last(data: SequenceData) -> None:
    torch.manual_seed(0)
    module = SASRec(SMALL, data.schema).eval()
    for split, held_out in ((data.validation, 2), (data.test, 1)):
        ranks = []
        for sequence in data.sequences[:40]:
            history, target = sequence[:-held_out], sequence[-held_out]
            with torch.no_grad():
                scores = module.states(torch.from_numpy(history[-12:])[None])[0, -1] @ module.items.weight.T
            scores[[0, *history.tolist()]] = -torch.inf
            ranks.append(1 + int((scores > scores[target]).sum()))
        listed = [rank if rank <= 10 else float("inf") for rank in ranks]
        assert Places(module)(split.batch(np.arange(40))).tolist() == listed
        assert any(rank < float("inf") for rank in listed)
        whole = sasrec.SYSTEM.measure(module, predict, split)
        places = predict(Places(module), split)
        assert whole == ranking_quality(places) | sliced(split, places)


def test_a_place_is_told_from_another_by_its_position(data: SequenceData) -> None:
    torch.manual_seed(0)
    module = SASRec(replace(SMALL, layers=2), data.schema).eval()
    states = module.states(torch.tensor([[4, 4, 4]]))[0]
    assert not torch.allclose(states[0], states[1], atol=1e-3)
    assert not torch.allclose(states[1], states[2], atol=1e-3)


def test_dropout_is_at_work_after_the_embedding_and_in_every_block_and_off_in_evaluation(data: SequenceData) -> None:
    module = SASRec(SMALL, data.schema)
    rates = {name: one.p for name, one in module.named_modules() if isinstance(one, torch.nn.Dropout)}
    assert rates == {"dropout": 0.2, "blocks.0.dropout": 0.2}
    items = torch.tensor([[4, 7, 9]])
    block = module.blocks[0]
    assert isinstance(block, EncoderBlock)
    for off in (module.dropout, block.dropout):
        module.train()
        off.eval()
        assert not torch.equal(module.states(items), module.states(items))
    module.eval()
    assert torch.equal(module.states(items), module.states(items))


def test_ids_outside_the_catalogue_count_as_unknown(data: SequenceData) -> None:
    module = SASRec(SMALL, data.schema).eval()
    torch.testing.assert_close(module.states(torch.tensor([[-1, 10**9]])), module.states(torch.tensor([[0, 0]])))


def test_it_learns_the_walk_and_its_vectors_lengths_tell_how_often_items_were_chosen(
    data: SequenceData, tmp_path: Path
) -> None:
    result = fit(sasrec.SYSTEM, SMALL, data, FitOptions(run=tmp_path / "run", quiet=True))
    assert result.metrics["test"]["recall5"] > 0.6
    assert isinstance(result.module, SASRec)
    vectors = sasrec.item_vectors(result.module, data)["item_vectors"]
    assert vectors.shape == (61, 16)
    assert not vectors[0].any()
    torch.testing.assert_close(vectors.mean(dim=0), torch.zeros(16), atol=1e-5, rtol=0)
    assert correlation(data, vectors) > 0.5

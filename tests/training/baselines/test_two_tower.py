from pathlib import Path

import numpy as np
import pytest
import torch

from training.baselines.two_tower import SYSTEM, Config, TwoTower, corrected_softmax
from training.data.retrieval import RetrievalData
from training.fit import FitOptions, fit
from training.ranking_metrics import retrieval_quality
from training.system import Wanted
from training.tasks.retrieval import RETRIEVAL, ranks


@pytest.fixture(scope="module")
def data() -> RetrievalData:
    return RETRIEVAL.view(RETRIEVAL.planted(), Wanted(SYSTEM.reads, 20, {}))


def built(data: RetrievalData) -> TwoTower:
    torch.manual_seed(0)
    model = TwoTower(Config(), data.schema)
    model.prepare(data)
    return model.eval()


def test_training_finds_more_than_popularity(data: RetrievalData, tmp_path: Path) -> None:
    config = Config(epochs=4, learning_rate=5e-3)
    measured = fit(SYSTEM, config, data, FitOptions(run=tmp_path / "run", quiet=True)).metrics["test"]
    batch = data.test.batch(np.arange(len(data.test)))
    popular = torch.from_numpy(data.train_item_counts).float().expand(len(data.test), -1)
    popularity = retrieval_quality(ranks(popular, batch.seen, batch.targets).numpy(), (20, 100))
    assert measured["recall20"] > 2 * popularity["recall20"]
    assert measured["recall100"] > popularity["recall100"] + 0.1


def test_softmax_is_corrected_by_shares_and_leaves_equal_items_out() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5], [0.0, 1.0, 3.0], [2.0, 0.0, 1.0]])
    items = torch.tensor([7, 7, 3])
    share = torch.tensor([0.5, 0.5, 0.25])
    weights = (logits.exp() / share).numpy()
    kept = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 1]])
    by_hand = -np.log(np.diag(weights) / (weights * kept).sum(axis=1)).mean()
    assert corrected_softmax(logits, items, share.log()).item() == pytest.approx(by_hand, rel=1e-6)


def test_shares_are_those_of_the_training_part(data: RetrievalData) -> None:
    model = built(data)
    item = int(data.train.targets[0, 0])
    share = (data.train.targets == item).sum() / len(data.train)
    assert model.log_share[item].item() == pytest.approx(np.log(share), rel=1e-5)
    assert torch.isfinite(model.log_share).all()


def test_neither_padding_nor_neighbours_change_a_users_vector(data: RetrievalData) -> None:
    model = built(data)
    batch = data.test.batch(np.arange(16))
    together = model.users(batch)
    padded = batch._replace(history=torch.nn.functional.pad(batch.history, (0, 7)))
    torch.testing.assert_close(model.users(padded), together, rtol=0, atol=1e-6)
    for row in range(16):
        alone = model.users(data.test.batch(np.array([row])))
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-6)


def test_history_fields_and_length_each_count_and_targets_do_not(data: RetrievalData) -> None:
    model = built(data)
    batch = data.test.batch(np.arange(4))
    same = batch._replace(targets=batch.targets + 1, seen=batch.seen * 0, objectives=batch.objectives + 1)
    assert torch.equal(model.users(same), model.users(batch))
    for other in (
        batch._replace(history=batch.history.roll(1, 0)),
        batch._replace(user_fields=batch.user_fields % 4 + 1),
        batch._replace(length=batch.length - 1),
    ):
        assert not torch.allclose(model.users(other), model.users(batch))


def test_vectors_have_length_one_and_unknown_ids_are_item_zero(data: RetrievalData) -> None:
    model = built(data)
    batch = data.test.batch(np.arange(4))
    torch.testing.assert_close(model.items().norm(dim=1), torch.ones(401))
    unknown = batch._replace(history=torch.full_like(batch.history, 2**40))
    assert torch.equal(model.users(unknown), model.users(batch._replace(history=batch.history * 0)))
    assert torch.isfinite(model.users(batch._replace(length=batch.length * 0))).all()

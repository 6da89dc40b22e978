"""The planted set has the structure it says it has."""

import numpy as np
from training.data.synthetic import planted

from training.metrics import auc


def test_the_history_tells_the_label() -> None:
    data = planted()
    batch = data.test.batch(np.arange(len(data.test)))
    clusters = data.item_genres[batch.history_items.numpy()] * (batch.history_ratings.numpy() >= 4)[..., None]
    taste = clusters[:, :8].sum(1)
    scores = (taste * data.item_genres[batch.item.numpy()]).sum(1)
    assert auc(data.test.label, scores) > 0.85


def test_the_item_alone_does_not_tell_the_label() -> None:
    data = planted()
    items = data.test.batch(np.arange(len(data.test))).item.numpy()
    rate = np.bincount(
        data.train.batch(np.arange(len(data.train))).item.numpy(), data.train.label, len(data.titles) + 1
    )
    scores = rate / np.maximum(data.train_item_counts, 1)
    assert auc(data.test.label, scores[items]) < 0.7


def test_the_seed_decides_everything() -> None:
    assert planted(seed=4).ratings.equals(planted(seed=4).ratings)
    assert not planted(seed=4).ratings.equals(planted(seed=5).ratings)


def test_sizes_are_as_asked_and_some_ratings_share_a_second() -> None:
    data = planted(num_users=10, num_items=20, max_length=5)
    assert data.schema["user_id"].cardinality == 11
    assert data.schema["history_items"].cardinality == len(data.item_genres) == len(data.train_item_counts) == 21
    assert data.schema["history_ratings"].width == data.histories()["history_items"].shape[1] == 5
    assert data.ratings.select("user", "timestamp").is_duplicated().any()

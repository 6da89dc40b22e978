"""The planted sets have the structure they say they have."""

import numpy as np
import pytest

from tests.training.click_views import fields, histories, view
from training.data.click import ClickBatch
from training.data.planted_clicks import planted_clicks, planted_fields
from training.metrics import auc
from training.tasks.click import CLICK


def of_test() -> ClickBatch:
    return histories().test.batch(np.arange(len(histories().test)))


def clusters() -> np.ndarray:
    """Which cluster each item is of: float [I + 1, 4]."""
    return np.eye(5)[histories().item_profile.sets[:, 0]][:, 1:]


def test_the_history_tells_the_label() -> None:
    batch = of_test()
    liked = clusters()[batch.history_items.numpy()] * (batch.history_values.numpy() >= 4)[..., None]
    scores = (liked[:, :8].sum(1) * clusters()[batch.item.numpy()]).sum(1)
    assert auc(histories().test.label, scores) > 0.85


def test_the_item_alone_does_not_tell_the_label() -> None:
    data = histories()
    train = data.train.batch(np.arange(len(data.train)))
    rate = np.bincount(train.item.numpy(), data.train.label, len(data.interactions.items))
    scores = rate / np.maximum(data.train_item_counts, 1)
    assert auc(data.test.label, scores[of_test().item.numpy()]) < 0.7


def test_group_and_brand_together_tell_the_label_and_neither_does_alone() -> None:
    data = fields()
    train, test = (split.batch(np.arange(len(split))) for split in (data.train, data.test))

    def measured(of: tuple[int, ...]) -> float:
        numbers = [batch.ids[:, of].numpy() @ (100 ** np.arange(len(of))) for batch in (train, test)]
        rate = {value: train.label.numpy()[numbers[0] == value].mean() for value in np.unique(numbers[0])}
        return auc(data.test.label, np.array([rate.get(value, 0.5) for value in numbers[1]]))

    both = measured((1, 3))
    assert both > 0.9
    assert max(measured((1,)), measured((3,))) < both - 0.1
    assert abs(measured((4,)) - 0.5) < 0.15, "the category says nothing"


@pytest.mark.parametrize("planted", [planted_clicks, planted_fields, lambda *, seed: CLICK.planted(seed)])
def test_the_seed_decides_everything(planted) -> None:
    assert planted(seed=4).events.equals(planted(seed=4).events)
    assert planted(seed=4).users.equals(planted(seed=4).users)
    assert not planted(seed=4).events.equals(planted(seed=5).events)


def test_sizes_are_as_asked_and_some_ratings_share_a_second() -> None:
    whole = planted_clicks(num_users=10, num_items=20)
    data = view(whole, max_length=5)
    assert whole.schema["user_id"].cardinality == len(whole.users) == 11
    assert whole.schema["item_id"].cardinality == len(whole.items) == len(data.train_item_counts) == 21
    assert data.histories()["history_items"].shape == (11, 5)
    assert whole.events.select("user", "time").is_duplicated().any()
    assert whole.events.schema["label"].is_float()
    assert (whole.events["label"] == (whole.events["value"] >= 4)).all()

"""The final network of ranking models, what it is given of a batch, and how its logits are judged."""

from functools import cache

import numpy as np
import pytest
import torch
from torch.nn import functional
from training.data.ranking import RankingData
from training.data.synthetic import planted

from training.layers.ranker import Tables, Tower, binary_loss, evaluate, quality
from training.loop import predict
from training.metrics import auc, gauc, log_loss


@cache
def data() -> RankingData:
    return planted()


def tower(dropout: float = 0.0) -> Tower:
    torch.manual_seed(0)
    return Tower(4, (6, 3), dropout)


def parts(count: int) -> list[torch.Tensor]:
    return list(torch.randn(3, count, 4, generator=torch.Generator().manual_seed(1)))


def test_the_tower_is_a_network_over_interest_target_product_and_profile() -> None:
    built, (interest, target, profile) = tower(), parts(5)
    together = torch.cat([interest, target, interest * target, profile], dim=1)
    maps = (built.of_interest, built.of_target, built.of_product, built.of_profile)
    weight = torch.cat([one.weight for one in maps], dim=1)
    first = torch.relu(functional.linear(together, weight, built.of_profile.bias))
    expected = built.last(torch.relu(built.second(first)))[:, 0]
    torch.testing.assert_close(built(interest, target, profile), expected)


def test_the_tower_leaves_out_its_share_of_units_in_training_alone() -> None:
    built, given = tower(dropout=0.4).train(), parts(2000)
    seen: list[torch.Tensor] = []
    built.second.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    torch.manual_seed(0)
    built(*given)
    built.eval()(*given)
    dropped, whole = seen
    active = whole > 0
    assert (dropped[active] == 0).float().mean().item() == pytest.approx(0.4, abs=0.03)
    kept = active & (dropped > 0)
    torch.testing.assert_close(dropped[kept], whole[kept] / 0.6)
    assert torch.equal(built(*given), built(*given))


def test_a_history_is_masked_from_its_length_on_and_ratings_count() -> None:
    torch.manual_seed(0)
    tables = Tables(data().schema, 8)
    tables.prepare(data())
    batch = data().train.batch(np.arange(0, 800, 20))
    found = tables.look_up(batch)
    assert len(batch.history_length.unique()) > 5
    for row, length in enumerate(batch.history_length.tolist()):
        assert found.mask[row].tolist() == [1.0] * length + [0.0] * (found.mask.shape[1] - length)
    row = int(batch.history_length.argmax())
    item, rating = int(batch.history_items[row, 0]), int(batch.history_ratings[row, 0])
    vector = functional.silu(tables.behaviours.mix(tables.items()[item] + tables.behaviours.rating.weight[rating]))
    torch.testing.assert_close(found.history[row, 0], vector)
    other = tables.look_up(batch._replace(history_ratings=batch.history_ratings % 5 + 1))
    assert not torch.allclose(other.history[row, 0], vector)
    torch.testing.assert_close(found.target, tables.items()[batch.item])


def test_an_item_s_vector_is_the_sum_of_its_row_its_popularity_and_its_genres() -> None:
    torch.manual_seed(0)
    tables = Tables(data().schema, 8).items
    tables.prepare(torch.from_numpy(data().train_item_counts), torch.from_numpy(data().item_genres))
    for item in (0, 3, 17):
        row, bucket, genres = tables.row_of[item], tables.bucket_of[item], tables.genres_of[item]
        expected = tables.rows.weight[row] + tables.popularity.weight[bucket] + tables.genre.weight @ genres
        torch.testing.assert_close(tables()[item], expected)


class Fixed(torch.nn.Module):
    """A logit that says something, from a user's and an item's number alone."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, batch: object) -> torch.Tensor:
        return self.scale * torch.sin(1.7 * batch.user + 0.3 * batch.item)  # pyright: ignore[reportAttributeAccessIssue]


def test_the_three_figures_are_those_of_the_split_s_labels_and_users() -> None:
    split = data().test
    logits = predict(Fixed(), split)
    expected = {
        "auc": auc(split.label, logits),
        "gauc": gauc(split.user, split.label, logits),
        "log_loss": log_loss(split.label, logits),
    }
    assert quality(split, logits) == expected == evaluate(Fixed(), predict, split)
    assert abs(expected["auc"] - expected["gauc"]) > 0.01, "the two would not be told apart"


def test_the_loss_is_the_binary_cross_entropy_of_the_logits() -> None:
    batch = data().train.batch(np.arange(50))
    value, logged = binary_loss(Fixed(), batch, 0.0)
    chance = torch.sigmoid(Fixed()(batch))
    expected = -torch.where(batch.label > 0, chance, 1 - chance).log().mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(logged["loss"], expected)

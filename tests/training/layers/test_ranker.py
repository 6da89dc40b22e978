"""The final network of models that read histories, and what it is given of a batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.training.click_views import everything, histories, view
from training.layers import ranker
from training.layers.ranker import Tables, Tower, value_of
from training.schema import size_of


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


def tables(dim: int = 8) -> Tables:
    torch.manual_seed(0)
    built = Tables(histories().schema, dim)
    built.prepare(histories())
    return built


def test_a_history_is_masked_from_its_length_on_and_values_count() -> None:
    built = tables()
    batch = histories().train.batch(np.arange(0, 800, 20))
    found = built.look_up(batch)
    assert len(batch.history_length.unique()) > 5
    for row, length in enumerate(batch.history_length.tolist()):
        assert found.mask[row].tolist() == [1.0] * length + [0.0] * (found.mask.shape[1] - length)
    row = int(batch.history_length.argmax())
    item, rating = int(batch.history_items[row, 0]), int(batch.history_values[row, 0])
    vector = functional.silu(built.behaviours.mix(built.items()[item] + built.behaviours.rating.weight[rating]))
    torch.testing.assert_close(found.history[row, 0], vector)
    other = built.look_up(batch._replace(history_values=batch.history_values % 5 + 1))
    assert not torch.allclose(other.history[row, 0], vector)
    torch.testing.assert_close(found.target, built.items()[batch.item])


def test_a_profile_is_that_of_the_batch() -> None:
    built, batch = tables(), histories().train.batch(np.arange(30))
    rows = built.profile.rows.weight.split(built.profile.layout.sizes)
    expected = sum(table[batch.profile[:, place]] for place, table in enumerate(rows))
    torch.testing.assert_close(built.look_up(batch).profile, expected)


def test_events_one_by_one_are_those_of_the_table_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    built, batch = tables(), histories().train.batch(np.arange(0, 800, 20))
    unlike = batch._replace(
        item=torch.where(batch.item == 3, 2**62, batch.item),
        history_items=torch.where(batch.history_items == 5, -1, batch.history_items),
        history_values=torch.where(batch.history_values == 2, 77, batch.history_values),
    )
    expected = built.look_up(unlike)
    monkeypatch.setattr(ranker, "_TABLE_ROWS", 0)
    for one, other in zip(expected, built.look_up(unlike), strict=True):
        torch.testing.assert_close(one, other)


def test_an_item_s_vector_is_the_sum_of_its_row_its_popularity_and_its_genres() -> None:
    items = tables().items
    (mean,) = items.set_means
    for item in (0, 3, 17):
        row, bucket = items.rows.table()[item], items.bucket_of[item]
        genre = mean(torch.from_numpy(histories().item_profile.sets[item : item + 1]))[0]
        expected = row + items.popularity.weight[bucket] + genre
        torch.testing.assert_close(items()[item], expected)


def test_histories_without_values_have_unknown_and_one() -> None:
    assert size_of(value_of(histories().schema)) == 6
    kept = tuple(field for field in histories().schema.fields if "value" not in field.uses)
    assert size_of(value_of(replace(histories().schema, fields=kept))) == 2


def test_dense_fields_of_users_events_and_items_are_standardised_by_the_training_part() -> None:
    data = view(everything())
    built = Tables(data.schema, 8)
    built.prepare(data)
    batch = data.train.batch(np.arange(len(data.train)))
    numbers = batch.profile_dense.numpy()
    assert built.profile.additions is not None
    np.testing.assert_allclose(built.profile.additions.mean, np.nanmean(numbers, axis=0), rtol=1e-5)
    np.testing.assert_allclose(built.profile.additions.deviation, np.nanstd(numbers, axis=0), rtol=1e-5)
    assert built.items.profile is not None
    assert built.items.profile.additions is not None
    price = data.item_profile.dense[batch.item]
    np.testing.assert_allclose(built.items.profile.additions.mean, np.nanmean(price, axis=0), rtol=1e-5)

"""What dense and multi-valued fields add to vectors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.click_views import CONTEXT, everything, view
from training.data.columns import Columns, Layout
from training.data.statistics import Statistics, measured
from training.layers.columns import Additions, Features, SetMean, additions
from training.layers.fields import FieldEmbedding
from training.schema import Field

LAYOUT = Layout(
    (
        Field(name="id", role="user", kind="id", cardinality=3),
        Field(name="tags", role="user", kind="multi", cardinality=5, width=2),
        Field(name="age", role="user", kind="dense"),
        Field(name="words", role="item", kind="multi", cardinality=400, width=3),
        Field(name="price", role="item", kind="dense"),
    )
)
NAN = float("nan")
ANY = (-(2**63), -1, 0, 1, 2, 3, 255, 256, 257, 399, 400, 2**62)


def made(dim: int = 4) -> Additions:
    torch.manual_seed(0)
    built = Additions(LAYOUT, dim, 0.5)
    tags, words = np.array([0, 0.1, 0.3, 0, 0.4], np.float32), np.zeros(400, np.float32)
    words[[2, 7, 399]] = 0.1, 0.6, 0.2
    built.prepare(
        Statistics(np.zeros(0), np.array([30.0, 2.0], np.float32), np.array([10.0, 4.0], np.float32), (tags, words))
    )
    return built


def tags_of(cardinality: int) -> Field:
    return Field(name="tags", role="item", kind="multi", cardinality=cardinality, width=3)


def by_hand(mean: torch.nn.Module, row: list[int]) -> torch.Tensor:
    assert isinstance(mean, SetMean)
    kept = [value for value in row if 0 < value < mean.cardinality]
    vectors = [mean.vectors.weight[:, value - 1] for value in kept]
    return torch.stack(vectors).mean(0) if vectors else mean.vectors.weight.new_zeros(len(mean.vectors.weight))


@pytest.mark.parametrize("cardinality", [2, 5, 256, 257, 400])
@settings(deadline=None, max_examples=40)
@given(rows=st.lists(st.lists(st.sampled_from(ANY), min_size=3, max_size=3), min_size=1, max_size=8))
def test_a_set_is_the_mean_of_its_known_ids_whichever_way_it_is_computed(
    cardinality: int, rows: list[list[int]]
) -> None:
    torch.manual_seed(0)
    mean = SetMean(tags_of(cardinality), 3).double()
    expected = torch.stack([by_hand(mean, row) for row in rows])
    torch.testing.assert_close(mean(torch.tensor(rows)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cardinality", [256, 257])
def test_every_id_of_a_set_learns_from_the_sets_that_hold_it_and_no_other(cardinality: int) -> None:
    mean = SetMean(tags_of(cardinality), 3)
    mean(torch.tensor([[1, 0], [255, 1]])).sum().backward()
    gradient = mean.vectors.weight.grad
    assert gradient is not None
    assert gradient.any(0).nonzero()[:, 0].tolist() == [0, 254]
    assert gradient[0, [0, 254]].tolist() == [1.5, 0.5]


def test_a_dense_field_adds_its_standardised_value_times_its_direction_and_a_set_its_mean() -> None:
    built = made()
    x = Features(
        torch.tensor([[1, 1, 1, 1, 1]]),
        torch.tensor([[45.0, 0.0]]),
        torch.tensor([[4, 2, 399, 7, 0]], dtype=torch.int64),
    )
    found = built(x)[0]
    assert not found[0].any(), "an id has its row elsewhere"
    torch.testing.assert_close(found[2], 1.5 * built.directions[0])
    torch.testing.assert_close(found[4], -0.5 * built.directions[1])
    torch.testing.assert_close(found[1], by_hand(built.means[0], [4, 2]))
    torch.testing.assert_close(found[3], by_hand(built.means[1], [399, 7]))


@pytest.mark.parametrize("there", [0, 1])
def test_what_is_missing_adds_nothing_said_by_its_id_or_by_its_value(there: int) -> None:
    built = made()
    missing = Features(
        torch.tensor([[1, there, there, there, there]]), torch.full((1, 2), NAN), torch.zeros(1, 5).long()
    )
    assert not built(missing).any()
    assert not built(missing).isnan().any()
    hidden = Features(torch.zeros(1, 5).long(), torch.tensor([[45.0, 8.0]]), torch.ones(1, 5).long())
    assert not built(hidden).any(), "an id that was made unknown hides the value"


@pytest.mark.parametrize("value", [9e18, -9e18])
def test_what_lies_absurdly_far_from_the_mean_leaves_room_for_squares(value: float) -> None:
    found = made()(Features(torch.ones(1, 5).long(), torch.full((1, 2), value), torch.zeros(1, 5).long()))
    assert found.square().isfinite().all()
    assert found.square().square().isfinite().all()


def test_a_missing_value_spoils_no_gradient() -> None:
    built = made()
    x = Features(torch.ones(2, 5).long(), torch.tensor([[NAN, 1.0], [2.0, NAN]]), torch.ones(2, 5).long())
    built(x).square().sum().backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in built.parameters())


def test_averages_are_what_training_samples_get_on_average() -> None:
    random = np.random.default_rng(0)
    tags, words = random.integers(0, 5, (60, 2)), random.integers(-1, 402, (60, 3))
    tags[::4], words[::7] = 0, 0
    sets = np.concatenate((tags, words), axis=1)
    ids = np.stack([np.ones(60), tags.any(1), np.ones(60), words.any(1), np.ones(60)], axis=1).astype(np.int64)
    samples = Columns(ids, random.normal(3, 2, (60, 2)).astype(np.float32), sets)
    built = Additions(LAYOUT, 4, 0.5)
    built.prepare(measured(LAYOUT, samples.rows, 60))
    found = built(Features(*map(torch.from_numpy, samples)))
    torch.testing.assert_close(built.averages(), found.mean(0), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cardinality", [5, 400])
def test_an_id_of_a_set_that_training_never_saw_is_left_out(cardinality: int) -> None:
    mean, share = SetMean(tags_of(cardinality), 3), np.zeros(cardinality, np.float32)
    share[[1, 3]] = 0.2, 0.1
    mean.prepare(share)
    found = mean(torch.tensor([[1, 2, 3], [2, 0, 0], [2, 4, 1]]))
    expected = [by_hand(mean, [1, 3]), by_hand(mean, []), by_hand(mean, [1])]
    torch.testing.assert_close(found, torch.stack(expected))


def test_ids_alone_need_nothing_beside_their_rows() -> None:
    assert additions(Layout(LAYOUT.fields[:1]), 4, 0.1) is None
    assert isinstance(additions(LAYOUT, 4, 0.1), Additions)


def test_means_and_frequencies_travel_with_the_weights() -> None:
    other = Additions(LAYOUT, 4, 0.5)
    other.load_state_dict(made().state_dict())
    assert torch.equal(other.averages(), made().averages())
    assert other.mean.tolist() == [30.0, 2.0]


def test_dropped_fields_have_the_mean_of_their_rows_and_of_what_is_added() -> None:
    data = view(everything())
    torch.manual_seed(0)
    embedding = FieldEmbedding(data.features.layout, 4)
    embedding.prepare(data)
    assert embedding.additions is not None
    batch = data.train.batch(np.arange(len(data.train)))
    x = Features(batch.ids, batch.dense, batch.sets)
    dropped = embedding(x, torch.zeros_like(x.ids, dtype=torch.bool))
    assert torch.equal(dropped, embedding.means().expand_as(dropped))
    rows = torch.stack([embedding.rows(embedding.offsets + embedding.known(ids)) for ids in x.ids]).mean(0)
    torch.testing.assert_close(embedding.means(), rows + embedding.additions.averages())
    kept = torch.ones_like(x.ids, dtype=torch.bool)
    assert torch.equal(embedding(x, kept), embedding(x))
    # Standardised values have the mean 0 where they are there, so a dense field's mean vector is the true one.
    for place in embedding.additions.dense:
        torch.testing.assert_close(embedding.means()[place], embedding(x)[:, place].mean(0), rtol=1e-4, atol=1e-6)


def test_an_embedding_of_ids_alone_says_so_and_has_no_further_weights() -> None:
    data = view(everything())
    ids = Layout(tuple(field for field in data.features.layout.fields if field.kind == "id"))
    assert FieldEmbedding(ids, 4).is_of_ids
    assert [name for name, _ in FieldEmbedding(ids, 4).named_parameters()] == ["rows.weight"]
    assert not FieldEmbedding(data.features.layout, 4).is_of_ids
    assert {field.name for field in data.context} == set(CONTEXT)


def test_statistics_come_from_the_training_part_alone() -> None:
    whole = everything()
    data = view(whole)
    hours = whole.events["hour"]
    late = whole.events["time"] > int(data.train.time.max())
    changed = whole.events.with_columns(hour=hours.zip_with(~late, hours * 100))
    one, two = FieldEmbedding(data.features.layout, 4), FieldEmbedding(data.features.layout, 4)
    one.prepare(data)
    two.prepare(view(replace(whole, events=changed)))
    for name, buffer in one.named_buffers():
        assert torch.equal(buffer, two.get_buffer(name)), name

"""Leave one out: who is held out, what a place's target is, and how long sequences are cut."""

import itertools
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.training.walks import data_of, digest_of, interactions, wanted
from training.data.sequences import MAX_VALIDATION, num_categories, sequences
from training.data.synthetic_sequences import synthetic_sequences
from training.schema import Field, Schema

TIME = Field(name="time", role="event", kind="dense", uses=("time",))
LABEL = Field(name="label", role="event", kind="id", uses=("label",), cardinality=2)
VALUE = Field(name="value", role="event", kind="id", uses=("value",), cardinality=6)


def test_the_last_item_is_tested_the_one_before_validated_and_the_rest_trains() -> None:
    data = data_of([[1, 2, 3, 4, 5], [6, 7, 8, 9]])
    train = data.train.batch(np.array([0, 1]))
    assert train.items.tolist() == [[1, 2], [6, 0]]
    assert train.targets.tolist() == [[2, 3], [7, 0]]
    assert train.length.tolist() == [2, 1]
    validation, test = data.validation.batch(np.array([0])), data.test.batch(np.array([0]))
    assert (validation.items.tolist(), validation.targets.tolist()) == ([[1, 2, 3]], [[0, 0, 4]])
    assert (test.items.tolist(), test.targets.tolist()) == ([[1, 2, 3, 4]], [[0, 0, 0, 5]])
    assert data.test.target.tolist() == [5, 9]
    assert data.test.user.tolist() == [1, 2]


def test_nothing_that_is_held_out_is_counted_or_trained() -> None:
    data = data_of([[1, 2, 3, 4, 5], [6, 7, 8, 9]])
    assert data.train_item_counts.tolist() == [0, 1, 1, 1, 0, 0, 1, 1, 0, 0]


def test_a_user_with_three_items_is_tested_but_trains_nothing() -> None:
    data = data_of([[1, 2, 3], [1, 2, 3, 4]])
    assert data.train.user.tolist() == [2]
    assert data.test.user.tolist() == [1, 2]


def test_long_sequences_train_every_target_once_with_at_most_the_longest_history() -> None:
    data = data_of([list(range(1, 14))], max_length=4)
    batch = data.train.batch(np.arange(len(data.train)))
    targets = batch.targets[batch.targets > 0]
    assert sorted(targets.tolist()) == list(range(2, 12))
    assert batch.length.max() == 4
    assert ((batch.targets == batch.items + 1) | (batch.items == 0)).all()
    assert data.test.batch(np.array([0])).items.tolist() == [[9, 10, 11, 12]]


def test_a_batch_is_in_the_order_of_its_rows_and_as_long_as_its_longest() -> None:
    data = data_of([[1, 2, 3, 4, 5], [6, 7, 8, 9]])
    assert data.test.batch(np.array([1])).items.tolist() == [[6, 7, 8]]
    assert data.test.batch(np.array([1, 0, 1])).items.tolist() == [[6, 7, 8, 0], [1, 2, 3, 4], [6, 7, 8, 0]]


def test_validation_measures_the_same_bounded_number_of_users_every_time() -> None:
    walks = [[1, 2, 3, 4]] * (MAX_VALIDATION + 50)
    first, second = data_of(walks), data_of(walks)
    assert len(first.validation) == MAX_VALIDATION
    assert np.array_equal(first.validation.user, second.validation.user)
    assert len(first.test) == len(walks)


def test_a_users_sequence_is_found_by_id_and_is_empty_for_a_stranger() -> None:
    data = data_of([[1, 2, 3, 4, 5], [6, 7, 8, 9]])
    assert data.sequence(2).tolist() == [6, 7, 8, 9]
    assert data.sequence(0).tolist() == data.sequence(7).tolist() == []


def test_of_a_user_with_fewer_than_three_items_nothing_is_held_out() -> None:
    data = data_of([[1, 2, 3, 4], [4, 3], [2]])
    assert data.train.user.tolist() == [1, 2]
    assert data.validation.user.tolist() == data.test.user.tolist() == [1]
    assert data.train.batch(np.array([1])).targets.tolist() == [[3]]
    assert data.train_item_counts.tolist() == [0, 1, 2, 1, 1]


def test_events_are_in_the_order_of_time_and_among_equal_ones_of_the_published_row() -> None:
    """Times of any int64, and a place within one time where the data set has both."""
    made = interactions([[1, 2, 3, 4, 5]], TIME)
    times = pl.Series("time", [7, 2**62, 7, -(2**62), 7])
    untimed = replace(
        made, schema=Schema(dataset="x", fields=tuple(f for f in made.schema.fields if f.name != "order"))
    )
    by_row = sequences(replace(untimed, events=made.events.with_columns(times)), wanted())
    assert by_row.sequence(1).tolist() == [4, 1, 3, 5, 2]
    backwards = made.events.with_columns(times, order=pl.Series([5, 4, 3, 2, 1]))
    assert sequences(replace(made, events=backwards), wanted()).sequence(1).tolist() == [4, 5, 3, 1, 2]


def test_what_was_passed_over_is_no_choice_but_a_low_rating_is_one() -> None:
    labels = pl.Series("label", [1, 0, 1, 0, 1, 1], dtype=pl.Float32)
    shown, rated = interactions([[1, 2, 3, 4, 5, 6]], LABEL), interactions([[1, 2, 3, 4, 5, 6]], LABEL, VALUE)
    chosen = sequences(replace(shown, events=shown.events.with_columns(labels)), wanted())
    assert chosen.sequence(1).tolist() == [1, 3, 5, 6]
    events = rated.events.with_columns(labels, value=pl.lit(1))
    assert sequences(replace(rated, events=events), wanted()).sequence(1).tolist() == [1, 2, 3, 4, 5, 6]


def test_a_set_without_categories_has_one_for_all_items() -> None:
    data = data_of([[1, 2, 3]])
    assert data.categories.tolist() == [0, 0, 0, 0]
    assert (num_categories(data.schema), num_categories(synthetic_sequences().schema)) == (1, 7)


def test_what_a_set_lacks_is_said_in_one_line() -> None:
    with pytest.raises(
        ValueError,
        match="hand-made cannot be used for next_item: it lacks a user who chose 3 items; own tables: add longer",
    ):
        data_of([[1, 2], [4, 5]])
    with pytest.raises(ValueError, match="max_length is 0"):
        data_of([[1, 2, 3]], max_length=0)
    made = interactions([[1, 2, 3]])
    for lacking, said in (("user_id", "ids of users; "), ("order", "a time or an order; ")):
        fields = tuple(field for field in made.schema.fields if field.name != lacking)
        with pytest.raises(ValueError, match=f"shop cannot be used for next_item: it lacks {said}"):
            sequences(replace(made, schema=Schema(dataset="shop", fields=fields)), wanted())
    beyond = made.events.with_columns(item=pl.lit(9))
    with pytest.raises(ValueError, match=r"hand-made: item ids range over 9 to 9; map them to 1 to 3 first"):
        sequences(replace(made, events=beyond), wanted())


def test_the_synthetic_set_has_the_structure_that_it_plants() -> None:
    data = sequences(synthetic_sequences(), wanted())
    steps = [(a, b) for sequence in data.sequences for a, b in itertools.pairwise(sequence)]
    same = np.mean([data.categories[a] == data.categories[b] for a, b in steps])
    assert 0.8 < same < 1.0
    assert data.content.text.shape == (61, 384)
    similar = data.content.text[1:] @ data.content.text[1:].T
    together = data.categories[1:, None] == data.categories[None, 1:]
    assert similar[together].mean() > 0.5 > 0.2 > similar[~together].mean()


def test_the_synthetic_set_is_the_one_that_recorded_results_were_made_of() -> None:
    """Digests of the arrays as they were when data sets and views of them were one."""
    assert digest_of(sequences(synthetic_sequences(), wanted(12))) == {
        "train": "3840f717bdea994c",
        "validation": "254c3f246f9749a0",
        "test": "01ef8c9f59eb9f2c",
        "sequences": "5e4fe8426606665a",
        "categories": "970f4310e2f8a490",
        "counts": "7cb18c0fd8c7544b",
    }

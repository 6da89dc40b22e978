"""Leave one out: who is held out, what a place's target is, and how long sequences are cut."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from training.data.sequences import MAX_VALIDATION, Content, SequenceData, leave_one_out
from training.data.synthetic_sequences import synthetic_sequences


def data_of(sequences: Sequence[Sequence[int]], max_length: int = 50) -> SequenceData:
    num_items = max(map(max, sequences))
    return leave_one_out(
        dataset="hand-made",
        user_ids=np.arange(10, 10 + len(sequences)),
        sequences=[np.array(sequence) for sequence in sequences],
        categories=np.arange(num_items + 1),
        titles={},
        max_length=max_length,
        load_content=lambda: Content(
            np.zeros((num_items + 1, 384), np.float32), np.zeros((num_items + 1, 2), np.float32)
        ),
    )


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
    assert data.test.user.tolist() == [10, 11]


def test_nothing_that_is_held_out_is_counted_or_trained() -> None:
    data = data_of([[1, 2, 3, 4, 5], [6, 7, 8, 9]])
    assert data.train_item_counts.tolist() == [0, 1, 1, 1, 0, 0, 1, 1, 0, 0]


def test_a_user_with_three_items_is_tested_but_trains_nothing() -> None:
    data = data_of([[1, 2, 3], [1, 2, 3, 4]])
    assert data.train.user.tolist() == [11]
    assert data.test.user.tolist() == [10, 11]


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
    sequences = [[1, 2, 3, 4]] * (MAX_VALIDATION + 50)
    first, second = data_of(sequences), data_of(sequences)
    assert len(first.validation) == MAX_VALIDATION
    assert np.array_equal(first.validation.user, second.validation.user)
    assert len(first.test) == len(sequences)


def test_a_users_sequence_is_found_by_id_and_is_empty_for_a_stranger() -> None:
    data = data_of([[1, 2, 3, 4, 5], [6, 7, 8, 9]])
    assert data.sequence(11).tolist() == [6, 7, 8, 9]
    assert data.liked(10, 2) == [5, 4]
    assert data.seen(9) == data.seen(12) == set()


def test_a_user_with_too_few_items_and_a_senseless_length_are_refused() -> None:
    with pytest.raises(ValueError, match="user 11 has 2 items; 3 are needed"):
        data_of([[1, 2, 3], [4, 5]])
    with pytest.raises(ValueError, match="max_length is 0"):
        data_of([[1, 2, 3]], max_length=0)


def test_content_is_loaded_once_and_only_when_asked_for() -> None:
    asked = []

    def load() -> Content:
        asked.append(1)
        return Content(np.zeros((5, 384), np.float32), np.zeros((5, 2), np.float32))

    data = leave_one_out(
        dataset="lazy",
        user_ids=np.array([1]),
        sequences=[np.array([1, 2, 3, 4])],
        categories=np.zeros(5, np.int64),
        titles={},
        max_length=5,
        load_content=load,
    )
    assert not asked
    assert data.content is data.content
    assert len(asked) == 1


def test_the_synthetic_set_has_the_structure_that_it_plants() -> None:
    data = synthetic_sequences()
    steps = [(a, b) for sequence in data.sequences for a, b in itertools.pairwise(sequence)]
    same = np.mean([data.categories[a] == data.categories[b] for a, b in steps])
    assert 0.8 < same < 1.0
    assert data.content.text.shape == (61, 384)
    similar = data.content.text[1:] @ data.content.text[1:].T
    together = data.categories[1:, None] == data.categories[None, 1:]
    assert similar[together].mean() > 0.5 > 0.2 > similar[~together].mean()

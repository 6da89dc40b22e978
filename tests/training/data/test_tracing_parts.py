import numpy as np
import polars as pl
import pytest

from training.data.simulated_students import Simulation, simulate
from training.data.tracing import TracingData, tracing_view
from training.data.tracing_parts import TEST, TRAIN, VALIDATION, parts_of
from training.system import PLAIN

STUDENT = np.repeat(np.arange(1, 41), 20)


def shares(part: np.ndarray) -> list[int]:
    return [int((part == one).sum()) for one in (TRAIN, VALIDATION, TEST)]


def test_a_random_split_lets_later_answers_train_and_a_chronological_one_does_not() -> None:
    last_trained = {}
    for split in ("chronological", "random"):
        part = parts_of(STUDENT, None, split).reshape(40, 20)
        known = part[(part == TRAIN).any(axis=1)]
        latest = (known == TRAIN) * np.arange(20)
        first_tested = np.where(known == TEST, np.arange(20), 20).min(axis=1)
        last_trained[split] = latest.max(axis=1) - first_tested
    assert (last_trained["chronological"] < 0).all()
    assert (last_trained["random"] > 0).mean() > 0.9


def test_a_random_split_has_the_shares_of_the_other_within_each_student_and_no_new_ones() -> None:
    part = parts_of(STUDENT, None, "random")
    assert shares(part) == [40 * 14, 40 * 2, 40 * 4]
    assert ((part.reshape(40, 20) == TEST).sum(axis=1) == 4).all()
    assert shares(parts_of(STUDENT, None, "")) == [32 * 14, 32 * 2 + 4 * 20, 32 * 4 + 4 * 20]


def test_given_parts_are_kept_and_what_they_cannot_be_is_refused() -> None:
    given = np.where(STUDENT < 21, TRAIN, np.where(STUDENT < 31, VALIDATION, TEST))
    assert np.array_equal(parts_of(STUDENT, given, "chronological"), given)
    with pytest.raises(ValueError, match="no random split can be drawn"):
        parts_of(STUDENT, given, "random")
    with pytest.raises(ValueError, match="no answer is in the part validation or test: give it some"):
        parts_of(STUDENT, np.full(len(STUDENT), TRAIN), "")
    with pytest.raises(ValueError, match="no answer is in the part validation or test: it needs more"):
        parts_of(np.arange(5), None, "random")
    with pytest.raises(ValueError, match="no split is called 'later'; there are: chronological, random"):
        parts_of(STUDENT, None, "later")


def viewed(split: str, max_length: int = 1_000) -> TracingData:
    wanted = PLAIN._replace(split=split, max_length=max_length)
    return tracing_view(simulate(Simulation(students=60)).interactions, wanted)


@pytest.mark.parametrize("split", ["chronological", "random"])
@pytest.mark.parametrize("max_length", [3, 1_000])
def test_every_answer_counts_in_one_part_with_all_earlier_ones_before_it(split: str, max_length: int) -> None:
    data = viewed(split, max_length)
    events = data.interactions.events
    place = events.select(place=pl.int_range(pl.len()).over("user"))["place"].to_numpy()
    rows = []
    for name in ("train", "validation", "test"):
        part = getattr(data, name)
        measured = part.measured()
        rows.append(measured.row)
        batch = part.batch(np.arange(len(part)))
        assert int(batch.counts.sum()) == len(measured.row)
        assert np.array_equal(batch.questions.numpy()[measured.sample, measured.step], measured.question)
        assert np.array_equal(events["item"].to_numpy()[measured.row], measured.question)
        assert (batch.counts.sum(dim=1) > 0).all()
        if name != "train":
            assert np.array_equal(measured.step, place[measured.row])
    assert sorted(np.concatenate(rows)) == [*range(len(events))]


def test_the_q_matrix_says_which_concepts_a_question_asks_for() -> None:
    data = viewed("chronological")
    dense = data.q_matrix.toarray()
    for question, concepts in enumerate(data.interactions.items["concepts"].to_list()):
        assert np.flatnonzero(dense[question]).tolist() == sorted(concepts)
    assert data.q_matrix.nnz == (data.concepts > 0).sum() < dense.size / 2


def test_abilities_are_of_students_at_their_last_answer_and_of_what_they_were_asked() -> None:
    data = viewed("chronological")
    events, truth = data.interactions.events, data.interactions.truth["ability"]
    known = data.test.abilities()
    assert known is not None
    assert known.sample.tolist() == [*range(len(data.test))]
    measured = data.test.measured()
    for sample, ability in zip(known.sample, known.ability, strict=True):
        user = events["user"][int(measured.row[measured.sample == sample][0])]
        asked = {one for item in events.filter(pl.col("user") == user)["item"] for one in data.concepts[item] if one}
        there = np.flatnonzero(~np.isnan(ability)) + 1
        assert {*there.tolist()} == asked
        assert np.array_equal(ability[there - 1], truth[user, there])
    cut = data.validation.abilities()
    assert cut is not None
    assert len(cut.sample) == round(60 / 10)

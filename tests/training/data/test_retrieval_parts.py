"""A split that the set's publisher gave, as retrieval keeps it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from training.data import retrieval_events
from training.data.pairs import made
from training.data.retrieval import RetrievalData, RetrievalSplit
from training.interactions import Interactions
from training.schema import Field, Schema
from training.system import Wanted
from training.tasks.retrieval import RETRIEVAL

NUM_USERS, NUM_ITEMS = 30, 60
PARTS = {"train": 20, "validation": 4, "test": 5}
EVENT = {"time": Field(name="time", role="event", kind="dense", uses=("time",))}


def tables(**sizes: int) -> dict[str, pl.DataFrame]:
    """Pairs by lot, each once; items of a user in no order."""
    random = np.random.default_rng(0)
    drawn = np.stack([random.permutation(NUM_ITEMS) for _ in range(NUM_USERS)])
    ends = np.cumsum([*sizes.values()])
    return {
        part: pl.DataFrame(
            {
                "user": np.repeat(np.arange(NUM_USERS), size),
                "item": drawn[:, end - size : end].ravel(),
            }
        )
        for (part, size), end in zip(sizes.items(), ends, strict=True)
    }


def planted(**sizes: int) -> Interactions:
    return made("given", tables(**(sizes or PARTS)), "made here")


def view(interactions: Interactions, max_length: int = 1000) -> RetrievalData:
    return RETRIEVAL.view(interactions, Wanted(frozenset(), max_length, {}))


def of_part(interactions: Interactions, user: int, part: int) -> list[int]:
    own = interactions.events.filter((pl.col("user") == user) & (pl.col("part") == part))
    return own["item"].to_list()


def rows_of(split: RetrievalSplit) -> list[tuple[list[int], list[int], list[int]]]:
    """Histories, targets and what is not to be listed, without the padding."""
    batch = split.batch(np.arange(len(split)))
    history, targets, seen = (
        [[one for one in row if one] for row in column.tolist()]
        for column in (batch.history, batch.targets, batch.seen)
    )
    return list(zip(history, targets, seen, strict=True))


def test_each_part_is_what_was_given() -> None:
    interactions = planted()
    data = view(interactions)
    for split, part in ((data.validation, 2), (data.test, 3)):
        assert [targets for _, targets, _ in rows_of(split)] == [
            of_part(interactions, int(user), part) for user in split.user
        ]
    assert len(data.train) == data.train_item_counts.sum() == PARTS["train"] * NUM_USERS
    assert RETRIEVAL.tested(interactions) == "150 events of 30 users, the given part of each, new items alone"


def test_what_validates_is_no_history_at_the_test_and_is_not_listed_there() -> None:
    interactions = planted()
    data = view(interactions)
    for split, masked in ((data.validation, (1,)), (data.test, (1, 2))):
        for user, (history, _, seen) in zip(split.user.tolist(), rows_of(split), strict=True):
            assert history == of_part(interactions, user, 1), "what trained, in the order of the file"
            assert seen == [item for part in masked for item in of_part(interactions, user, part)]


def test_without_a_moment_an_event_is_learnt_from_all_others_of_its_user() -> None:
    interactions = planted()
    train = view(interactions).train
    for user, (history, (target,), seen) in zip(train.user.tolist(), rows_of(train), strict=True):
        assert history == seen == [item for item in of_part(interactions, user, 1) if item != target]


def test_the_newest_of_a_history_are_the_last_of_the_file() -> None:
    interactions = planted()
    data = view(interactions, max_length=3)
    for user, (history, (target,), _) in zip(data.train.user.tolist(), rows_of(data.train), strict=True):
        assert history == [item for item in of_part(interactions, user, 1) if item != target][-3:]
    assert rows_of(data.test)[0][0] == of_part(interactions, 1, 1)[-3:]


def test_with_times_a_training_history_is_older_and_a_held_out_one_is_all_that_trained() -> None:
    interactions = planted()
    fields = (*interactions.schema.fields, EVENT["time"])
    timed = interactions.events.with_columns(time=np.random.default_rng(1).permutation(len(interactions.events)))
    data = view(replace(interactions, events=timed, schema=Schema(dataset="timed", fields=fields)))
    for user, (history, (target,), _) in zip(data.train.user.tolist(), rows_of(data.train), strict=True):
        own = timed.filter((pl.col("user") == user) & (pl.col("part") == 1)).sort("time")
        moment = own.filter(pl.col("item") == target)["time"][0]
        assert history == own.filter(pl.col("time") < moment)["item"].to_list()
    assert all(len(history) == PARTS["train"] for history, _, _ in rows_of(data.test))


def test_where_nothing_validates_a_seeded_tenth_of_what_trains_does(monkeypatch: pytest.MonkeyPatch) -> None:
    interactions = planted(train=20, test=5)
    monkeypatch.setattr(retrieval_events, "MAX_VALIDATION", 10)
    data, again = view(interactions), view(interactions)
    assert len(data.validation) == 10
    assert np.array_equal(data.validation.targets, again.validation.targets)
    drawn = dict(zip(data.validation.user.tolist(), rows_of(data.validation), strict=True))
    for user, (history, targets, _) in zip(data.test.user.tolist(), rows_of(data.test), strict=True):
        held_out = drawn[user][1] if user in drawn else []
        assert len(held_out) == (2 if user in drawn else 0)
        assert {*held_out} <= {*of_part(interactions, user, 1)}
        assert history == [item for item in of_part(interactions, user, 1) if item not in held_out]
        assert targets == of_part(interactions, user, 3)
    assert len(data.train) == 20 * NUM_USERS - 2 * 10
    places = [of_part(interactions, user, 1).index(item) for user, (_, items, _) in drawn.items() for item in items]
    assert min(places) < 5, "by lot, not the last ones"


def test_a_pair_that_is_there_twice_counts_once_where_it_comes_first() -> None:
    interactions = planted()
    first = of_part(interactions, 1, 1)[0]
    again = [{"user": 1, "item": first, "part": part} for part in (1, 2, 3)]
    data = view(replace(interactions, events=pl.concat([pl.DataFrame(again[::-1]), interactions.events])))
    assert len(data.train) == PARTS["train"] * NUM_USERS
    rows = rows_of(data.train)[: PARTS["train"]]
    assert all(target not in history for history, (target,), _ in rows)
    assert first not in rows_of(data.test)[0][1]


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("test", r"it lacks positive events that train and some that test; .* rows with test"),
        ("train", "it lacks positive events that train and some that test"),
    ],
)
def test_without_one_of_the_parts_there_is_no_split(lost: str, message: str) -> None:
    left = {part: size for part, size in PARTS.items() if part != lost}
    with pytest.raises(ValueError, match=message):
        view(planted(**left))


def test_without_parts_a_time_or_an_order_it_is_said_what_is_missing() -> None:
    interactions = planted()
    fields = interactions.schema.fields[:2]
    with pytest.raises(ValueError, match=r"lacks a time, an order or given parts; own tables: .*part = "):
        view(replace(interactions, schema=Schema(dataset="alone", fields=fields)))

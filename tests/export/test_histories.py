"""A data set's events as histories: what a view has of its users, in the same order, by raw ids."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from export.histories import facts_of, load, raw_values
from recserve_client.events import event_name
from serving.histories.histories import Histories
from serving.histories.history import Events, id_of
from serving.histories.keys import Whose
from serving.histories.lmdb_store import LmdbHistories
from tests.recserve.releases import registered
from tests.training.click_views import everything, view
from training import datasets
from training.data.click import HISTORY
from training.data.folder.labels import codes
from training.data.planted_clicks import planted_clicks
from training.interactions import Interactions
from training.schema import Field


def positives() -> Interactions:
    """Without values: only the positive events are history."""
    whole = everything()
    fields = tuple(one for one in whole.schema.fields if "value" not in one.uses)
    schema = type(whole.schema)(dataset="positives", fields=fields)
    return Interactions(
        schema=schema, events=whole.events.drop("value"), users=whole.users, items=whole.items, licence="none"
    )


def check(interactions: Interactions, folder: Path, most: int = 1000) -> None:
    histories = Histories(LmdbHistories(folder))
    *_, done = load(histories, interactions, most)
    data = view(interactions, frozenset({HISTORY}), max_length=most)
    expected = data.histories()
    raws = interactions.raws("user", np.arange(len(interactions.users)))
    found = histories.of([Whose(interactions.name, raw) for raw in raws])
    field = next((one for one in interactions.schema.fields if "value" in one.uses), None)
    number = 0
    for user in range(1, len(raws)):
        length = int(expected["history_length"][user, 0])
        items = interactions.raws("item", expected["history_items"][user, :length])[::-1]
        values = expected["history_values"][user, :length][::-1]
        events = found[user]
        assert ([] if events is None else events.items.tolist()) == items
        if events is not None and field is not None:
            assert events.values.tolist() == raw_values(field)[values].tolist()
        number += events is not None
    assert number == done
    before = histories.store.stat()
    *_, again = load(histories, interactions, most)
    assert (again, histories.store.stat().histories) == (done, before.histories), "loading twice changes nothing"
    histories.close()


@pytest.mark.parametrize("make", [planted_clicks, everything, positives])
def test_histories_are_those_of_the_view(make, tmp_path: Path) -> None:
    check(make(), tmp_path)


def test_no_more_than_the_newest_are_kept(tmp_path: Path) -> None:
    check(planted_clicks(), tmp_path, most=7)


def test_ids_are_those_of_the_tables(tmp_path: Path) -> None:
    with registered(tmp_path / "sets"):
        interactions = datasets.read("plain")
        facts = facts_of(interactions)
        assert (facts.users, facts.items.kind, facts.ticks) == ("string", "int64", 1)
        check(interactions, tmp_path / "store")


@pytest.mark.parametrize("number", [5, 32, 400])
def test_a_raw_value_is_one_that_the_name_of_its_code_names(number: int) -> None:
    values = pl.Series(np.random.default_rng(0).normal(size=number))
    found = codes(values, np.arange(number))
    field = Field(name="x", role="event", kind="id", uses=("value",), cardinality=len(found.names), values=found.names)
    unknown, *raw = raw_values(field).tolist()
    assert np.isnan(unknown)
    for name, value in zip(found.names[1:], raw, strict=True):
        match name.split():
            case ["up", "to", most]:
                assert value == float(most)
            case ["over", least, "to", most]:
                assert float(least) < value == float(most)
            case ["over", least]:
                assert float(least) < value < float(least) + 1e-9
            case [one]:
                assert f"{value:.9g}" == one
    assert sorted(raw) == raw


@pytest.mark.parametrize("later", [False, True])
def test_an_event_that_is_pushed_and_loaded_is_one(tmp_path: Path, later: bool) -> None:
    """A team pushes what happens, and the same events come once more with the next day's table."""
    whole = planted_clicks()
    histories = Histories(LmdbHistories(tmp_path))
    pushed = {
        Whose(whole.name, user): Events(
            own["item"].to_numpy(),
            own["value"].to_numpy().astype(float),
            own["time"].to_numpy(),
            np.zeros(len(own), np.int64),
            np.array(
                [id_of(event_name(i, t, 0, float(v))) for i, t, v in own.select("item", "time", "value").rows()],
                np.uint64,
            ),
        )
        for (user,), own in whole.events.group_by("user")
    }
    steps = [lambda: [*load(histories, whole)], lambda: histories.append(pushed)]
    for step in steps[::-1] if later else steps:
        step()
    numbers = {one.number for one in histories.of([*pushed]) if one is not None}
    expected = {min(len(own), 1024) for _, own in whole.events.group_by("user")}
    assert numbers == expected
    assert {one for told in histories.append(pushed).values() for one in told} == {"duplicate"}

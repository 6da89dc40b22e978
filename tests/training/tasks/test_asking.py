"""Questions to lists and tokenizers, by raw ids, and their answers for people."""

from dataclasses import replace
from typing import cast

import numpy as np
import polars as pl
import pytest

from serving.ids import IdMap
from training.asking import Question, met_by, profiles
from training.baselines.sasrec import Config, SASRec
from training.data.retrieval import retrieval_view
from training.data.sequences import sequences
from training.interactions import Interactions
from training.schema import Field, Role, Schema, Use
from training.system import Task, Wanted
from training.tasks.click import CLICK
from training.tasks.next_item import NEXT_ITEM
from training.tasks.retrieval import RETRIEVAL
from training.tasks.semantic_ids import SEMANTIC_IDS
from training.tasks.tracing import TRACING

NOBODY = Question(user=None, history=(), candidates=(), most=100)


def planted() -> Interactions:
    return NEXT_ITEM.planted()


def shop() -> Interactions:
    """The same items under names of their own."""
    names = np.array([f"sku-{number:02}" for number in range(1, 61)], dtype=object)
    return replace(planted(), ids={"item": IdMap(ids=names)})


def test_a_users_history_is_asked_oldest_first_and_a_strangers_is_empty() -> None:
    own = met_by(planted().events, 3).tolist()
    assert NEXT_ITEM.request(planted(), NOBODY._replace(user=3))["history"].tolist() == [own]
    assert NEXT_ITEM.request(planted(), NOBODY._replace(user=10**6))["history"].shape == (1, 0)
    raw = NEXT_ITEM.request(shop(), NOBODY._replace(user=3))["history"][0].tolist()
    assert raw == [f"sku-{item:02}" for item in own]
    given = NEXT_ITEM.request(shop(), NOBODY._replace(history=("sku-07", "sku-01")))
    assert given["history"].tolist() == [["sku-07", "sku-01"]]
    with pytest.raises(ValueError, match="say for whom: --user ID, or --history ITEM"):
        NEXT_ITEM.request(planted(), NOBODY)


def test_where_a_request_may_not_carry_all_new_items_the_most_popular_are_ranked_and_that_is_said() -> None:
    clicks = CLICK.planted()
    counts = np.bincount(clicks.events["item"].to_numpy(), minlength=len(clicks.items))
    new = len(clicks.items) - 1 - len({*met_by(clicks.events, 3).tolist()})
    for most in (5, new, 1000):
        question = Question(user=3, history=(), candidates=(), most=most)
        request = CLICK.request(clicks, question)
        offered = request["candidates"][0]
        shown = CLICK.shown(clicks, question, request, {"scores": np.zeros((1, len(offered)), np.float32)})
        if most == 5:
            left = np.setdiff1d(np.arange(1, len(clicks.items)), [*offered, *met_by(clicks.events, 3)])
            assert counts[offered].min() >= counts[left].max()
            assert shown.title == f"best of the 5 most popular of {5 + len(left)} items that are new to the user"
        else:
            assert shown.title == f"best of {len(offered)} items that are new to the user"


EVENTS = pl.DataFrame(
    {
        "user": [2, 1, 1, 1, 1, 1, 2, 2, 2],
        "item": [9, 7, 6, 5, 4, 3, 8, 2, 1],
        "time": [1, 5, 4, 4, 4, 3, 2, 3, 4],
        "order": [0, 4, 2, 3, 1, 0, 1, 2, 3],
        "label": pl.Series([1, 1, 0, 1, 1, 0, 1, 1, 1], dtype=pl.Float32),
        "value": [3, 3, 1, 3, 2, 1, 3, 3, 3],
        "bought": [1, 0, 0, 1, 1, 1, 1, 1, 1],
    }
)
"""Out of order, two moments of one second, passed over and bought."""
USES: dict[str, tuple[Use, ...]] = {"bought": ("objective",)}


def names(role: str, count: int) -> IdMap:
    return IdMap(ids=np.array([f"{role}-{number}" for number in range(1, count + 1)], object))


def log(*columns: str, text_ids: bool = False) -> Interactions:
    """The events with some of their columns, of 2 users and 9 items."""
    keys = (
        Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=3),
        Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=10),
    )
    own = tuple(
        Field(name=name, role="event", kind="dense", uses=USES.get(name, (cast(Use, name),))) for name in columns
    )
    ids: dict[Role, IdMap] = {"user": names("user", 2), "item": names("item", 9)}
    return Interactions(
        schema=Schema(dataset="log", fields=(*keys, *own)),
        events=EVENTS.select("user", "item", *columns),
        users=pl.DataFrame({"row": range(3)}),
        items=pl.DataFrame({"title": ["unknown", *(f"Item {number}" for number in range(1, 10))]}),
        licence="none: generated",
        ids=ids if text_ids else {},
    )


@pytest.mark.parametrize(
    ("columns", "listed", "retrieved"),
    [
        (("time", "order"), [3, 4, 6, 5, 7], [3, 4, 6, 5, 7]),
        (("time",), [3, 6, 5, 4, 7], [3, 6, 5, 4, 7]),
        (("order",), [3, 4, 6, 5, 7], [3, 4, 6, 5, 7]),
        (("time", "order", "label"), [4, 5, 7], [4, 5, 7]),
        (("time", "order", "label", "value"), [3, 4, 6, 5, 7], [4, 5, 7]),
        (("time", "order", "label", "bought"), [4, 5, 7], [3, 4, 5]),
    ],
)
def test_the_history_of_a_question_and_of_traffic_is_the_trained_one(
    columns: tuple[str, ...], listed: list[int], retrieved: list[int]
) -> None:
    data, asked, random = log(*columns), NOBODY._replace(user=1), np.random.default_rng(0)
    wanted = Wanted(frozenset(), 8, {})
    assert sequences(data, wanted).sequence(1).tolist() == listed
    test = retrieval_view(data, wanted).test
    batch = test.batch(np.flatnonzero(test.user == 1))
    met = batch.history[0, : int(batch.length[0])].tolist()
    assert met == retrieved[: len(met)]
    assert len(met) >= 2
    for task, history in ((NEXT_ITEM, listed), (RETRIEVAL, retrieved)):
        assert task.request(data, asked)["history"].tolist() == [history]
        drawn = [one for one in task.questions(data, random, 100, 10) if one.user == 1]
        assert {one.history for one in drawn} == {tuple(history[:length]) for length in range(1, len(history) + 1)}


def test_of_one_of_whom_the_data_set_says_nothing_more_that_is_said() -> None:
    assert profiles(TRACING.planted(), "3", ["5"]).lines == ("user: no fields in planted-tracing",)


@pytest.mark.parametrize("task", [NEXT_ITEM, RETRIEVAL])
def test_an_empty_history_has_the_type_of_the_items(task: Task) -> None:
    request = task.request(log("time", text_ids=True), NOBODY._replace(user="nobody"))
    assert (request["history"].dtype, request["history"].shape) == (np.dtype(object), (1, 0))
    assert task.request(log("time"), NOBODY._replace(user=7))["history"].dtype == np.int64


@pytest.mark.parametrize(
    ("task", "question", "said"),
    [
        (CLICK, NOBODY._replace(user=1, history=(3,)), "leave --history out"),
        (NEXT_ITEM, NOBODY._replace(user=1, candidates=(3,)), "leave --candidates out"),
        (RETRIEVAL, NOBODY._replace(user=1, candidates=(3,)), "leave --candidates out"),
        (TRACING, NOBODY._replace(user=1, history=(3,)), "leave --history out"),
        (SEMANTIC_IDS, NOBODY._replace(user=1, candidates=(3,)), "leave --user out"),
        (SEMANTIC_IDS, NOBODY._replace(history=(4,), candidates=(3,)), "leave --history out"),
    ],
)
def test_what_an_answer_would_not_depend_on_is_refused(task: Task, question: Question, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        task.request(log("time", "label"), question)


def test_a_list_is_shown_with_titles_and_without_its_filling() -> None:
    question = NOBODY._replace(history=("sku-07", "sku-01"))
    request = NEXT_ITEM.request(shop(), question)
    answer = {
        "items": np.array([["sku-05", "sku-60", ""]], dtype=object),
        "scores": np.array([[-1.5, -2.0, -1e9]], np.float32),
    }
    shown = NEXT_ITEM.shown(shop(), question, request, answer)
    assert shown.columns == ("", "title", "item", "score")
    assert shown.rows == [[1, "Item 5", "sku-05", -1.5], [2, "Item 60", "sku-60", -2.0]]
    assert shown.lines == ("history of 2 items (synthetic-sequences), newest first: Item 1, Item 7",)


def test_a_tokenizer_is_asked_for_one_item_with_its_content() -> None:
    question = NOBODY._replace(candidates=("sku-05",))
    request = SEMANTIC_IDS.request(shop(), question)
    assert {name: part.shape for name, part in request.items()} == {"text": (1, 384), "graph": (1, 16)}
    assert np.array_equal(request["text"][0], shop().content.text[5])
    answer = {"sids": np.array([[7, 3]]), "weights": np.array([[1.0, 0.5]], np.float32)}
    shown = SEMANTIC_IDS.shown(shop(), question, request, answer)
    assert shown.lines == ("item sku-05 (synthetic-sequences): Item 5",)
    assert (shown.columns, shown.rows) == (("", "id", "weights"), [[1, 7, 1.0], [2, 3, 0.5]])
    with pytest.raises(ValueError, match="say of which item: --candidates ITEM"):
        SEMANTIC_IDS.request(shop(), NOBODY)


def test_a_release_takes_and_lists_raw_ids() -> None:
    named = shop()
    data = NEXT_ITEM.view(named, Wanted(frozenset(), 8, {}))
    (model,) = NEXT_ITEM.release("lists", SASRec(Config(max_length=8, dim=8, layers=1), data.schema), data)
    assert [spec.client_dtype for spec in (model.inputs[0], *model.outputs)] == ["string", "string", "float32"]
    assert model.inputs[0].ids is model.outputs[0].ids is named.ids["item"]

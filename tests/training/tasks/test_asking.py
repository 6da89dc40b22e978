"""Questions to lists and tokenizers, by raw ids, and their answers for people."""

from dataclasses import replace

import numpy as np
import pytest

from serving.ids import IdMap
from training.asking import Question
from training.baselines.sasrec import Config, SASRec
from training.interactions import Interactions
from training.system import Wanted
from training.tasks.next_item import NEXT_ITEM
from training.tasks.semantic_ids import SEMANTIC_IDS

NOBODY = Question(user=None, history=(), candidates=(), most=100)


def planted() -> Interactions:
    return NEXT_ITEM.planted()


def shop() -> Interactions:
    """The same items under names of their own."""
    names = np.array([f"sku-{number:02}" for number in range(1, 61)], dtype=object)
    return replace(planted(), ids={"item": IdMap(ids=names)})


def test_a_users_history_is_asked_oldest_first_and_a_strangers_is_empty() -> None:
    own = planted().items_of(3)[::-1].tolist()
    assert NEXT_ITEM.request(planted(), NOBODY._replace(user=3))["history"].tolist() == [own]
    assert NEXT_ITEM.request(planted(), NOBODY._replace(user=10**6))["history"].shape == (1, 0)
    raw = NEXT_ITEM.request(shop(), NOBODY._replace(user=3))["history"][0].tolist()
    assert raw == [f"sku-{item:02}" for item in own]
    given = NEXT_ITEM.request(shop(), NOBODY._replace(history=("sku-07", "sku-01")))
    assert given["history"].tolist() == [["sku-07", "sku-01"]]
    with pytest.raises(ValueError, match="say for whom: --user ID, or --history ITEM"):
        NEXT_ITEM.request(planted(), NOBODY)


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

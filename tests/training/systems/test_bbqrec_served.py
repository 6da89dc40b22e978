"""BBQRec's reasons: which earlier items are alike, with the attention that the model gave them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.systems.bbqrec_models import SMALL, model, planted
from training.asking import Question, Tensors
from training.data.sequences import SequenceData
from training.servable import Packed, Signature
from training.systems.bbqrec import SYSTEM, BBQRec
from training.tasks.next_item import NEXT_ITEM

HISTORY = [1, 8, 7, 9, 13]


@pytest.fixture(scope="module")
def data() -> SequenceData:
    return planted()


@pytest.fixture(scope="module")
def module(data: SequenceData) -> BBQRec:
    return model(data)


@pytest.fixture(scope="module")
def release(module: BBQRec, data: SequenceData) -> tuple[Signature, ...]:
    return SYSTEM.release(module, SMALL, data)


def reasons(release: tuple[Signature, ...], history: list[int], listed: list[int]) -> Packed:
    return release[0].eager(torch.tensor(history), torch.tensor([len(history)]), torch.tensor([listed]))


def test_weights_are_those_of_the_newest_place_and_alike_the_common_prefixes(
    release: tuple[Signature, ...], module: BBQRec, data: SequenceData
) -> None:
    assert [one.name for one in release] == ["bbqrec_reasons", "bbqrec"]
    bent, plain, alike = reasons(release, HISTORY, [19, 2, 0])
    with torch.no_grad():
        blocks = module.attention(torch.tensor([HISTORY]))
    for found, kind in ((bent, 0), (plain, 1)):
        expected = torch.stack([block[kind][0, :, -1] for block in blocks]).mean((0, 1))
        torch.testing.assert_close(found[0, :5], expected)
        assert not found[0, 5:].any()
        assert float(found.sum()) == pytest.approx(1, abs=1e-5)
    assert (bent - plain).abs().max() > 0.01
    codes = data.given["codes"]
    for number, item in enumerate((19, 2)):
        prefixes = [int((codes[item, :3] == codes[one, :3]).long().cumprod(0).sum()) for one in HISTORY]
        assert alike[0, number, 0, :5].tolist() == prefixes
    assert not alike[0, 2].any()


def test_a_history_that_can_be_no_item_is_answered_with_nan(release: tuple[Signature, ...]) -> None:
    bent, plain, _ = reasons(release, [1, -4, 7], [19, 2, 3])
    assert bent.isnan().all()
    assert plain.isnan().all()


def test_the_most_attended_of_the_earlier_items_that_are_alike_are_named(
    release: tuple[Signature, ...], data: SequenceData
) -> None:
    interactions = replace(data.interactions, ids={})
    question = Question(None, tuple(HISTORY), (), 100)
    request = NEXT_ITEM.request(interactions, question)
    answer: Tensors = {"items": np.array([[19, 60, 5]]), "scores": np.zeros((1, 3), np.float32)}

    def infer(name: str, sent: Tensors) -> Tensors:
        assert name == "bbqrec_reasons"
        found = reasons(release, sent["history"][0].tolist(), sent["listed"][0].tolist())
        return {spec.name: part.numpy() for spec, part in zip(release[0].outputs, found, strict=True)}

    assert SYSTEM.explained is not None
    (shown,) = SYSTEM.explained(infer, "bbqrec", interactions, request, answer)
    assert shown.columns == ("title", "earlier", "alike", "weight", "without")
    bent, plain, alike = (part[0].numpy() for part in reasons(release, HISTORY, [19, 60, 5]))
    rows = [row for row in shown.rows if row[0] == "Item 19"]
    places = [place for place in np.argsort(-bent[:5]) if alike[0, 0, place]]
    assert len(places) >= 2
    assert [row[1] for row in rows] == [f"Item {HISTORY[place]}" for place in places]
    assert [row[2] for row in rows] == [str(alike[0, 0, place]) for place in places]
    assert [row[3] for row in rows] == pytest.approx([bent[place] for place in places])
    assert [row[4] for row in rows] == pytest.approx([plain[place] for place in places])
    assert ["Item 60", "none of the history", "", "", ""] in shown.rows

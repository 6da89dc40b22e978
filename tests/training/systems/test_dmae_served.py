"""What DMAE serves means what was trained, says why, and knows new items by what they are."""

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from recserve.studies.dmae.data import content_clicks, with_unknown_targets
from tests.training.click_views import view_of
from tests.training.systems.dmae_models import LENGTH, SMALL, data, model, train
from training.asking import Tensors
from training.data.click import ClickData
from training.layers.click_release import HISTORY_ELEMENTS
from training.layers.ranker import HistoryModel
from training.loop import predict
from training.metrics import auc
from training.registry import system
from training.servable import Signature
from training.systems.dmae import SYSTEM
from training.systems.dmae.servables import elements, explained, servables


@cache
def released() -> dict[str, Signature]:
    return {one.name: one for one in servables("dmae", model(), SMALL, data())}


def infer(name: str, request: Tensors) -> Tensors:
    """As a client asks, without a server."""
    signature = released()[name]
    given = []
    for spec in signature.inputs:
        if spec.of is not None:
            given.append(torch.tensor([request[spec.of].shape[1]], dtype=torch.int32))
        else:
            array = torch.from_numpy(np.asarray(request[spec.name]))
            given.append(array[0] if spec.ragged else array)
    names = [spec.name for spec in signature.outputs]
    return {name: one.numpy().reshape(1, -1) for name, one in zip(names, signature.eager(*given), strict=True)}


def test_no_output_of_a_graph_reads_the_decoder() -> None:
    before = {name: one.eager(*one.example(4, 3)) for name, one in released().items()}
    for signature in released().values():
        if signature.module is None:
            continue
        with torch.no_grad():
            for key, parameter in signature.module.named_parameters():
                if "decoders" in key:
                    parameter.fill_(torch.nan)
    for name, one in released().items():
        for a, b in zip(one.eager(*one.example(4, 3)), before[name], strict=True):
            assert torch.equal(a.nan_to_num(-7), b.nan_to_num(-7))


def test_the_explanation_is_of_the_events_that_weigh_most() -> None:
    items = np.arange(1, 12)[None]
    request = {"user_id": np.array([[5]]), "candidates": items}
    answer = infer("dmae", request)
    tables = explained(infer, "dmae", data().interactions, request, answer)
    assert len(tables) == 3
    best = int(items[0, np.argmax(answer["scores"][0])])
    assert f"(item {best})" in tables[0].title
    assert tables[0].columns == ("event", "text", "graph", "weight by text", "weight by graph")
    weights = [row[3] + row[4] for row in tables[0].rows]  # pyright: ignore[reportOperatorIssue]
    assert weights == sorted(weights, reverse=True)
    assert len(weights) == 5
    content, titles = data().interactions.content, data().interactions.titles
    for event, text, graph, *_ in tables[0].rows:
        number = titles.index(str(event))
        for said, table in ((text, content.text), (graph, content.graph)):
            if table[number].any() and table[best].any():
                assert isinstance(said, float)
                assert abs(said - (table[best] @ table[number] + 1) / 2) < 0.003
            else:
                assert said == ""


def test_a_user_without_a_history_has_no_reasons() -> None:
    request = {"user_id": np.array([[10**9]]), "candidates": np.array([[1, 2]])}
    tables = explained(infer, "dmae", data().interactions, request, infer("dmae", request))
    assert [table.rows for table in tables] == [[], []]


def test_full_attention_takes_fewer_candidates_the_longer_the_history() -> None:
    at = {length: elements(replace(SMALL, max_length=length)) // length for length in (50, 256, 1000)}
    for length, most in at.items():
        held = most * length * (300 + 3 * length)
        assert held <= 128 * HISTORY_ELEMENTS, "numbers of one request, in all units"
    gate = replace(SMALL, fusion="gate", max_length=1000)
    assert elements(gate) > 8 * elements(replace(gate, fusion="attention"))


@cache
def on_new_items(name: str) -> tuple[HistoryModel, ClickData]:
    chosen = system(name)
    config = chosen.config(dim=8, max_length=20, hidden=(16, 8), dropout=0.0)
    given = view_of(chosen, content_clicks(), 20)
    return train(chosen, config, given, 160), given


def aucs(name: str) -> tuple[float, float, float]:
    """All test rows, those of cold items, all without any target's id."""
    module, given = on_new_items(name)
    cold = given.train_item_counts[given.log.item[given.test.places]] < 5
    assert cold.sum() > 100
    known, unknown = predict(module, given.test), predict(with_unknown_targets(module), given.test)
    label = given.test.label
    return auc(label, known), auc(label[cold], known[cold]), auc(label, unknown)


def test_where_content_drives_clicks_an_item_without_clicks_is_ranked_as_well_as_any() -> None:
    """DIN is the same head without the units: what it knows of an item is its id."""
    (_, din_cold, din_unknown), (all_, cold, unknown) = aucs("din"), aucs("dmae")
    assert all_ > 0.8
    assert all_ - unknown < 0.02
    assert cold > all_ - 0.06
    assert max(din_cold, din_unknown) < 0.6
    assert SYSTEM.baseline_of(SMALL) == "early_fusion"
    assert aucs("early_fusion")[1] < cold - 0.1
    assert on_new_items("dmae")[1].max_length >= LENGTH

"""What DMAE serves means what was trained, says why, and knows new items by what they are."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from export.artifacts import Source
from export.repository import publish
from recserve.studies.dmae.data import content_clicks, with_unknown_targets
from serving.direct import DirectModel
from serving.in_process import InProcessModel
from tests.training.click_views import view_of
from tests.training.systems.dmae_models import LENGTH, SMALL, data, model, train
from tests.training.systems.served_edges import STRANGERS, check_edges, check_negatives, request
from training.asking import NO_EVENTS, Tensors
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


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    publish(folder, tuple(released().values()), Source(kind="run", name="dmae"))
    return folder


def test_what_is_served_answers_at_the_edges_of_ids_and_lengths(repository: Path) -> None:
    users, items = (len(table) - 1 for table in (data().interactions.users, data().interactions.items))
    check_edges(InProcessModel.open(repository / "dmae"), users, items)


def test_the_scorer_reads_strangers_in_a_history_as_the_unknown_item_and_answers_without_a_history(
    repository: Path,
) -> None:
    """Without the check of our backends, as in NVIDIA's."""
    model, rows = DirectModel.open(repository / "dmae_scorer"), infer("dmae_history", request(5, [3]))
    feeds = {"candidates": np.array([[3, 4, 7]]), **rows}
    check_negatives(model, feeds, 1)

    def scores(**changes: np.ndarray) -> np.ndarray:
        return model.run_checked([{**feeds, **changes}])[0]["scores"][0]

    for name, one in rows.items():
        if name != "history_length":
            wrong, unknown = one.copy(), one.copy()
            unknown[0, 2] = 0
            for stranger in (-1, -(2**63)) if name == "history_ages" else STRANGERS:
                wrong[0, 2] = stranger
                np.testing.assert_array_equal(scores(**{name: wrong}), scores(**{name: unknown}))
            assert not np.array_equal(scores(**{name: unknown}), scores())
    none = scores(history_length=np.array([[0]]))
    assert np.isfinite(none).all()
    np.testing.assert_array_equal(none, scores(history_length=np.array([[0]]), history_items=rows["history_items"] + 1))
    assert np.isnan(scores(history_length=np.array([[-1]]))).all()
    assert np.isnan(scores(history_length=np.array([[LENGTH + 1]]))).all()


def test_the_reasons_of_a_stranger_and_of_no_history_are_none(repository: Path) -> None:
    model, rows = DirectModel.open(repository / "dmae_interest"), infer("dmae_history", request(5, [3]))
    for item, length in ((0, LENGTH), (-1, LENGTH), (2**40, LENGTH), (3, 0)):
        feeds = {"item": np.array([[item]]), **rows, "history_length": np.array([[length]])}
        found = model.run_checked([feeds])[0]
        assert all((found[f"similarity_{name}"] == -1).all() for name in ("text", "graph"))
        assert not any(found[f"weight_{name}"].any() for name in ("text", "graph"))


def test_the_explanation_is_of_the_events_that_weigh_most() -> None:
    items = np.arange(1, 12)[None]
    request = {"user_id": np.array([[5]]), "candidates": items}
    answer = infer("dmae", request)
    tables = explained(infer, "dmae", data().interactions, request, answer)
    assert len(tables) == 3
    best = int(items[0, np.argmax(answer["scores"][0])])
    assert f"(item {best})" in tables[0].title
    assert tables[0].columns == ("event", "rating", "text", "graph", "weight by text", "weight by graph")
    weights = [cast(float, row[4]) + cast(float, row[5]) for row in tables[0].rows]
    assert weights == sorted(weights, reverse=True)
    assert len(weights) == 5
    content, titles = data().interactions.content, data().interactions.titles
    for event, _, text, graph, *_ in tables[0].rows:
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
    assert [(table.rows, table.lines) for table in tables] == [([], (NO_EVENTS,))] * 2


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


@pytest.mark.long
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

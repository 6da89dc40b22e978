"""DMAE's studies: a model that knows no target's id, planted clicks that content drives, and the timed graphs."""

import json

import numpy as np
import pytest
import torch

from loadtest import RESULTS
from recserve import results
from recserve.studies.dmae import cold, cost
from recserve.studies.dmae.cold import Row
from recserve.studies.dmae.data import content_clicks, with_unknown_targets
from tests.training.systems.dmae_models import batch, model
from training.data.planted_clicks import planted_clicks


def test_without_its_id_a_target_is_an_item_that_training_never_met_and_the_history_is_as_it_was() -> None:
    built, given = model(), batch()
    unseen = built.tables.items.rows.row_of[0]
    copied = with_unknown_targets(built)
    known, unknown = built.tables.look_up(given), copied.tables.look_up(given)
    assert torch.equal(known.history, unknown.history)
    assert torch.equal(known.profile, unknown.profile)
    assert not torch.allclose(known.target, unknown.target)
    same_genre = [row for row in range(40) if torch.equal(unknown.target[row], unknown.target[0])]
    assert len(same_genre) > 1, "what is left of an item is its genre"
    assert (built.tables.items.rows.row_of != unseen).any(), "the model itself is as it was"
    copied.tables.items.rows.weight.data.fill_(1)
    assert not torch.equal(copied.tables.look_up(given).history, known.history)


def test_content_drives_clicks_and_some_items_come_late() -> None:
    clicks = content_clicks()
    content, events = clicks.content, clicks.events
    assert 0.45 < events["label"].mean() < 0.55  # pyright: ignore[reportOperatorIssue]
    for table in content:
        assert not table[0].any()
        np.testing.assert_allclose(np.linalg.norm(table[1:], axis=1), 1, rtol=1e-5)
    item, time = events["item"].to_numpy(), events["time"].to_numpy()
    first = np.array([time[item == one].min(initial=10**6) for one in range(1, 241)])
    assert ((first >= 7e5).sum(), (first < 7e5).sum()) == (60, 180)
    assert len(np.unique(item[time < 8e5])) < len(np.unique(item)), "some are new in the test part"


def test_a_figure_is_the_mean_of_its_seeds() -> None:
    rows = [Row("a", 0, 0.8, 0.5, 0.7), Row("b", 0, 0.9, 0.9, 0.9), Row("a", 1, 0.6, 0.7, 0.6)]
    a, b = cold.means(rows)
    assert (a["system"], a["seeds"], b["seeds"]) == ("a", [0, 1], [0])
    assert a["all"]["mean"] == pytest.approx(0.7)
    assert a["drop"]["mean"] == pytest.approx(0.05)
    assert a["by_seed"]["cold"] == [0.5, 0.7]


def test_what_the_page_of_results_says_of_dmae_holds() -> None:
    planted, cold = (
        {row["system"]: row for row in json.loads((RESULTS / f"dmae-{name}.json").read_text())["rows"]}
        for name in ("planted", "cold")
    )
    published = {
        name: result.test
        for name in ("dmae", "dmae-unfused", "dmae-undecoded", "early_fusion", "din", "recency_pooling")
        if (result := results.read("click", "ml-100k", name))
    }
    for metric in ("auc", "gauc"):
        means = {name: test[metric]["mean"] for name, test in published.items()}
        assert min(means[name] for name in means if name.startswith("dmae")) > max(
            means[name] for name in ("early_fusion", "din", "recency_pooling")
        )
        assert all(abs(means["dmae"] - means[f"dmae-{one}"]) < 0.005 for one in ("unfused", "undecoded"))
    assert published["dmae"]["decoder_rank"]["mean"] > 0.9 > 0.1 > published["dmae-undecoded"]["decoder_rank"]["mean"]
    whole, early, din = (planted[name] for name in ("dmae", "early_fusion", "din"))
    assert whole["all"]["mean"] - whole["cold"]["mean"] < 0.02
    assert abs(whole["drop"]["mean"]) < 0.002
    assert early["cold"]["mean"] < whole["cold"]["mean"] - 0.1
    assert max(planted[f"dmae-{one}"]["cold"]["mean"] for one in ("text", "graph")) < whole["cold"]["mean"] - 0.05
    for one in ("unfused", "undecoded"):
        assert abs(planted[f"dmae-{one}"]["all"]["mean"] - whole["all"]["mean"]) < 0.002
    assert din["cold"]["mean"] < 0.6
    assert cold["dmae"]["drop"]["mean"] > cold["early_fusion"]["drop"]["mean"]
    assert max(row["cold"]["std"] for row in cold.values()) > 0.01


@pytest.mark.slow
def test_every_planted_system_is_measured() -> None:
    rows = cold.planted([0], systems=(("din", {}), ("dmae", {"modalities": ("text",)})), epochs=1)
    assert [row.system for row in rows] == ["din", "dmae-text"]
    assert all(0 < value < 1 for row in rows for value in row[2:])


@pytest.mark.slow
@pytest.mark.long
def test_costs_are_ratios_to_the_first_case() -> None:
    cases = (("din", {}), ("dmae", {"fusion": "none", "modalities": ("graph",)}))
    result = cost.run(planted_clicks(), (3, 20), 2, cases=cases, events=16)
    rows, of_default = result["rows"], [name for name, _ in cost.CASES]
    assert (result["events"], of_default[0], {*of_default}) == (16, "din", {"din", "early_fusion", "dmae"})
    assert [(row["model"], row["candidates"]) for row in rows] == [
        ("din", 3),
        ("dmae_unfused_graph", 3),
        ("din", 20),
        ("dmae_unfused_graph", 20),
    ]
    assert [row["ratio"] for row in rows[::2]] == [1, 1]
    assert all(row["cpu_ms"] > 0 for row in rows)

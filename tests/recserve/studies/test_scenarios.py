"""What the studies of scenarios measure and draw."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recserve.studies.scenarios import cells, cost, halves, scenes, sparse
from recserve.studies.scenarios.sparse import thinned
from tests.training.click_views import view, view_of
from tests.training.systems.gsvr_models import data, model
from training.data.click import HISTORY
from training.data.planted_scenarios import planted_halves
from training.system import prepare
from training.systems.sfpnet import SYSTEM, Config, SFPNet
from training.tasks.click_slices import scenarios_of


def small_sfpnet() -> SFPNet:
    known = view_of(SYSTEM, planted_halves(num_users=20), 16)
    torch.manual_seed(0)
    module = SYSTEM.build(Config(dim=8, hidden=(8, 4), max_length=16), known.schema)
    prepare(module, known)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    assert isinstance(module, SFPNet)
    return module.eval()


def test_a_sparse_scenario_keeps_a_share_of_its_training_samples_and_all_of_the_others() -> None:
    whole = view(planted_halves(num_users=40), frozenset({HISTORY}))
    thin = thinned(whole, 3, 0.2)
    before, after = (np.bincount(scenarios_of(one.train), minlength=6) for one in (whole, thin))
    assert after[3] == pytest.approx(0.2 * before[3], rel=0.4)
    assert np.delete(after, 3).tolist() == np.delete(before, 3).tolist()
    assert len(thin.test) == len(whole.test)
    assert thin.train_item_counts.sum() == len(thin.train)
    place = np.flatnonzero(whole.train.places == thin.train.places[100])
    own, same = thin.train.batch(np.array([100])), whole.train.batch(place)
    assert torch.equal(own.history_items, same.history_items), "histories stay as they were"


def test_what_it_trains_is_measured_once_for_each_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse.datasets, "read", lambda _name: planted_halves(num_users=20, num_events=20))
    study = sparse.SparseScenario(dataset="planted", seeds=1, max_epochs=1, output=tmp_path / "sparse.json")
    found = study._trained("gsvr off")
    assert len(found["auc"]) == 1


def test_cells_are_binned_by_their_samples_and_drawn(tmp_path: Path) -> None:
    module = model()
    found = cells.spreads(module)
    counts, deviations, prior = found["user"]
    bins = cells.binned("user", counts, deviations, prior)
    assert sum(one.cells for one in bins) == int((module.users.cells.counts > 0).sum()) == len(counts)
    assert bins[0].samples == "1"
    assert bins[0].deviation == pytest.approx(float(deviations[counts == 1].mean()))
    cells.draw(found, data().schema.dataset, tmp_path / "cells.png")
    assert (tmp_path / "cells.png").stat().st_size > 10_000


def test_behaviours_are_told_by_how_far_two_scenarios_move_them_and_drawn(tmp_path: Path) -> None:
    module = small_sfpnet()
    known = view_of(SYSTEM, planted_halves(num_users=20), 16)
    rows = scenes.moved(module, known, 3, (2, 4))
    assert len(rows) == 16
    assert all(row.title.startswith("Item ") and row.apart > 0 for row in rows)
    same = scenes.moved(module, known, 3, (2, 2))
    assert all(row.first == row.second and row.apart == 0 for row in same)
    scenes.draw(rows, ["upper", "left"], "user 3", tmp_path / "scenes.png")
    assert (tmp_path / "scenes.png").stat().st_size > 10_000


@pytest.mark.slow
def test_planted_halves_are_trained_and_drawn(tmp_path: Path) -> None:
    rows, behaviours = halves.trained([0], 1, users=50, names=("sfpnet", "din"))
    assert [row["system"] for row in rows] == ["sfpnet", "din"]
    assert all(0 < row["auc"]["mean"] < 1 for row in rows)
    assert {one.title.split(", ")[1] for one in behaviours} == {"counts in upper", "counts in lower"}
    halves.draw(rows, behaviours, tmp_path / "halves.png")
    assert (tmp_path / "halves.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.long
def test_both_forms_are_timed_in_turn() -> None:
    known = view_of(SYSTEM, planted_halves(num_users=20), 8)
    (row,) = cost.timed(Config(dim=8, hidden=(8, 4), max_length=8, blocks=1), known, (5,), 2)
    assert row["candidates"] == 5
    assert row["two of one"] == pytest.approx(row["two graphs, CPU ms"] / row["one graph, CPU ms"], rel=0.01)

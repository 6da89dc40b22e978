"""What the study of MATT's cost publishes is asked in this process and through the server, and timed."""

import pytest
import torch

from recserve.studies.matt_cost import bench
from recserve.studies.matt_cost.models import base_name, matt_name, models
from training.data.click import FEATURES, ClickData
from training.data.planted_clicks import planted_fields
from training.system import Wanted
from training.tasks.click import CLICK


@pytest.fixture
def data() -> ClickData:
    return CLICK.view(planted_fields(), Wanted(frozenset({FEATURES}), 1, {}))


def test_the_base_is_that_inside_of_each_matt_under_a_name_of_its_own(data: ClickData) -> None:
    base, *others = models("fm", (2, 4), data)
    parts = [f"{matt_name('fm', count)}{part}" for count in (2, 4) for part in ("_sampler", "_scorer", "")]
    assert [base.name, *(one.name for one in others)] == [base_name("fm"), *parts]
    (scores,) = base.eager(*base.example(3, 0))
    for scorer, paths in ((others[1], 2), (others[4], 4)):
        *asked, masks, ends, weights, more_ends = scorer.example(3, 0)
        _, _, of_paths = scorer.eager(*asked, masks, ends, weights, more_ends)
        torch.testing.assert_close(of_paths.reshape(-1, paths + 1)[:, 0], scores, rtol=0, atol=1e-6)


@pytest.mark.triton_server
@pytest.mark.slow
@pytest.mark.long
def test_the_whole_run(data: ClickData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "PATHS", (2,))
    result = bench.run(("fm",), data, (20, 2))
    (row,) = result["rows"]
    assert (row["base"], row["paths"]) == ("fm", 2)
    assert all(value > 0 for name, value in row.items() if name.endswith("_ms"))
    assert row["graph_ratio"] == pytest.approx(row["graph_ms"] / row["base_ms"], rel=1e-2)
    assert (result["dataset"], result["candidates"]) == ("planted-fields", 20)

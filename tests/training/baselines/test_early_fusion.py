"""Early fusion: what a vector of an item consists of."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.click_views import histories as data
from training.baselines.early_fusion import SYSTEM, EarlyFusion, FusedItems
from training.data.planted_clicks import planted_clicks
from training.layers.items import ItemTable
from training.needs import require
from training.system import prepare


def built() -> tuple[EarlyFusion, FusedItems]:
    torch.manual_seed(0)
    module = SYSTEM.build(SYSTEM.config(dim=8, hidden=(8, 4), attention_units=8, dropout=0.0), data().schema)
    prepare(module, data())
    assert isinstance(module, EarlyFusion)
    items = module.tables.items
    assert isinstance(items, FusedItems)
    return module.eval(), items


def test_an_item_s_vector_is_its_table_s_and_a_projection_of_each_modality_it_has() -> None:
    _, items = built()
    content = data().interactions.content
    with torch.no_grad():
        plain, fused = ItemTable.worked_out(items), items()
        text, graph = (items.projections[name].get_parameter("weight") for name in ("text", "graph"))
    expected = plain + torch.from_numpy(content.text) @ text.T + torch.from_numpy(content.graph) @ graph.T
    torch.testing.assert_close(fused, expected, rtol=1e-4, atol=1e-5)
    bare = len(content.graph) - 1
    assert not content.graph[bare].any()
    torch.testing.assert_close(fused[bare], plain[bare] + text @ torch.from_numpy(content.text[bare]))


def test_content_reaches_target_and_history() -> None:
    module, items = built()
    given = data().test.batch(np.array([60, 61]))
    with torch.no_grad():
        before = module.tables.look_up(given)
        items.content.text.mul_(-1)
        after = module.tables.look_up(given)
    assert not torch.allclose(before.target, after.target)
    assert not torch.allclose(before.history, after.history)


def test_data_without_content_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="cannot be used for early_fusion: it lacks texts of items"):
        require(replace(planted_clicks(), load_content=None), SYSTEM.name, SYSTEM.needs)

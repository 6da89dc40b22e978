"""Vectors of items inside a model: norm 1, none for the unknown, refused where they are of other items."""

import numpy as np
import pytest
import torch

from training.data.planted_clicks import planted_clicks
from training.interactions import Content
from training.layers.item_content import MODALITIES, ItemContent


def test_items_have_their_vectors_and_strangers_none() -> None:
    content = planted_clicks().content
    table = ItemContent(49)
    table.prepare(Content(content.text * 3, content.graph))
    items = torch.tensor([[1, 48, 0], [-1, 49, 2**40]])
    for name in MODALITIES:
        found = table.of(name, items)
        expected = torch.from_numpy(getattr(content, name))[[1, 48, 0]]
        assert torch.allclose(found.vectors[0], expected, atol=1e-6)
        assert not found.vectors[1].any()
        assert found.given.tolist() == [[True, name == "text", False], [False] * 3]


def test_vectors_of_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match=r"text is \[49, 384\]; it must be \[9, 384\]"):
        ItemContent(9).prepare(planted_clicks().content)


def test_planted_clusters_show_in_the_vectors() -> None:
    planted = planted_clicks()
    cluster = np.array([one[0] if len(one) else 0 for one in planted.items["genres"].to_list()])
    for vectors in planted.content:
        alike = vectors @ vectors.T
        same = cluster[:, None] == cluster[None]
        inside = np.outer(cluster > 0, cluster > 0) & ~np.eye(len(cluster), dtype=bool)
        assert alike[same & inside].mean() > 0.3 + alike[~same & inside].mean()

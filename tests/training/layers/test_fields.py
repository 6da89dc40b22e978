"""The embedding of categorical fields: what has a row, what shares one, and what stands in for a dropped field."""

import warnings
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from tests.training.click_views import view
from training.data.click import FEATURES, ClickData
from training.interactions import Interactions
from training.layers.columns import Features
from training.layers.fields import FieldConfig, FieldEmbedding, pair_sum, with_unknown
from training.schema import Field, Schema

TRAIN = np.array([[1, 2], [1, 2], [2, 2], [1, 1], [-3, 3], [9, 3]])
"""Of the event's fields. Field 0: id 1 three times, 2 once, two of no known range. Field 1: 2 and 3 are frequent, 1 is
not."""
LARGE = 2**62


def data(train: np.ndarray) -> ClickData:
    """Two fields of the event behind the user's key and before the item's; two more events are no training samples."""
    rows = np.concatenate([train, [[2, 1], [2, 1]]])
    events = {"user": [1] * len(rows), "item": [1] * len(rows), "time": [*([0] * len(train)), 1, 2]}
    events |= {"label": [1.0] * len(rows), "first": rows[:, 0], "second": rows[:, 1]}
    fields = (
        Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=2),
        Field(name="first", role="event", kind="id", cardinality=3),
        Field(name="second", role="event", kind="id", cardinality=4),
        Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=2),
        Field(name="time", role="event", kind="dense", uses=("time",)),
        Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
    )
    return view(
        Interactions(
            schema=Schema(dataset="made", fields=fields),
            events=pl.DataFrame(events),
            users=pl.DataFrame({"name": ["unknown", "somebody"]}),
            items=pl.DataFrame({"title": ["unknown", "something"]}),
            licence="",
        ),
        frozenset({FEATURES}),
    )


def made(train: np.ndarray = TRAIN) -> FieldEmbedding:
    torch.manual_seed(0)
    built = FieldEmbedding(data(train).features.layout, 5)
    built.prepare(data(train))
    return built


def features(ids: torch.Tensor) -> Features:
    """Of the middle fields int64 [B, 2]; the keys are known."""
    known = torch.ones_like(ids[:, :1])
    return Features(torch.cat([known, ids, known], dim=1), torch.zeros(len(ids), 0), torch.zeros(len(ids), 0).long())


def test_rare_and_impossible_ids_are_the_unknown_of_their_own_field() -> None:
    embedding = made()
    ids = features(torch.tensor([[1, 2], [2, 1], [-1, -LARGE], [3, 4], [LARGE, LARGE], [0, 0], [2, 3]]))
    expected = [[1, 2], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0], [0, 3]]
    assert embedding.known(ids.ids)[:, 1:3].tolist() == expected
    vectors = embedding(ids)
    assert torch.equal(vectors[1], vectors[5])
    assert torch.equal(vectors[0, 1:3], embedding.rows.weight[[2 + 1, 2 + 3 + 2]])


def test_training_counts_are_those_of_the_rows_in_use() -> None:
    assert made().frequency.tolist() == [0, 6, 3, 3, 0, 1, 0, 3, 2, 0, 6]


def test_the_mean_of_a_field_is_the_mean_over_the_training_samples() -> None:
    expected = made()(features(torch.from_numpy(TRAIN))).mean(dim=0)
    torch.testing.assert_close(made().means(), expected)


def test_a_dropped_field_has_its_mean_and_keeping_all_changes_no_bit() -> None:
    embedding, x = made(), features(torch.tensor([[1, 2], [2, 3]]))
    kept = embedding(x, torch.tensor([[True, True, False, True], [True] * 4]))
    assert torch.equal(kept[0, 2], embedding.means()[2])
    assert torch.equal(kept[1], embedding(x)[1])
    assert torch.equal(kept[0, [0, 1, 3]], embedding(x)[0, [0, 1, 3]])
    assert torch.equal(embedding(x, torch.ones(2, 4, dtype=torch.bool)), embedding(x))


def test_prepare_forgets_the_set_before() -> None:
    embedding = made()
    embedding.prepare(data(np.array([[2, 1]] * 6)))
    assert embedding.known(features(torch.tensor([[1, 2], [2, 1]])).ids)[:, 1:3].tolist() == [[0, 0], [2, 1]]
    assert int(embedding.frequency.sum()) == 6 * 4


def test_the_pair_sum_is_the_sum_over_all_pairs() -> None:
    vectors = torch.randn(3, 4, 2, dtype=torch.float64)
    pairs = [(vectors[:, i] * vectors[:, j]).sum(1) for i in range(4) for j in range(i)]
    torch.testing.assert_close(pair_sum(vectors), torch.stack(pairs).sum(0))


def test_the_asked_share_of_ids_becomes_unknown() -> None:
    ids = torch.full((1000, 8), 7)
    torch.manual_seed(0)
    changed = with_unknown(ids, 0.1)
    assert set(changed.unique().tolist()) == {0, 7}
    assert abs(float((changed == 0).double().mean()) - 0.1) < 0.02
    assert torch.equal(with_unknown(ids, 0.0), ids)


@pytest.mark.parametrize(("name", "value"), [("unknown_rate", 1.0), ("dropout", -0.1)])
def test_a_share_beyond_its_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}; it must be at least 0 and below 1"):
        replace(FieldConfig(), **{name: value})


class _Known(nn.Module):
    def __init__(self, embedding: FieldEmbedding) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, ids: Tensor) -> Tensor:
        return self.embedding.known(ids)


def test_rows_of_ids_are_looked_up_by_the_fast_operator_of_a_graph() -> None:
    embedding, ids = FieldEmbedding(data(TRAIN).features.layout, 4), torch.zeros(3, 4, dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(_Known(embedding).eval(), (ids,), dynamo=True, verbose=False)
    assert program is not None
    operators = {node.op_type for node in program.model.graph}
    assert "Gather" in operators
    assert "GatherND" not in operators, "which takes five times as long"

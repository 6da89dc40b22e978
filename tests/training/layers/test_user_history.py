"""A user's history as a retriever reads it: the newest events that count, oldest first, whatever else was met."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from training.data.planted_clicks import planted_clicks
from training.data.planted_retrieval import planted_retrieval
from training.layers.user_history import ReadHistory, counted


def test_the_newest_events_that_count_are_read_oldest_first() -> None:
    random = np.random.default_rng(0)
    items, values = random.integers(1, 100, (50, 12)), random.integers(0, 6, (50, 12))
    lengths = random.integers(0, 13, 50)
    counts = np.array([False, False, True, False, True, True])
    read = ReadHistory(counts, 4)
    history, number = read(*map(torch.from_numpy, (items, lengths[:, None], values)))
    for row, length in enumerate(lengths):
        kept = [int(item) for item, value in zip(items[row, :length], values[row], strict=False) if counts[value]][:4]
        assert history[row].tolist() == kept[::-1] + [0] * (4 - len(kept))
        assert number[row] == len(kept)
    whole, all_ = ReadHistory(None, 12)(torch.from_numpy(items), torch.from_numpy(lengths[:, None]))
    assert torch.equal(all_, torch.from_numpy(lengths))
    assert whole[3, : lengths[3]].tolist() == items[3, : lengths[3]][::-1].tolist()


def test_a_value_that_no_table_has_counts_as_the_unknown_one() -> None:
    read = ReadHistory(np.array([False, True]), 3)
    items, length = torch.tensor([[7, 8, 9]]), torch.tensor([[3]])
    history, number = read(items, length, torch.tensor([[1, 5, -3]]))
    assert (history.tolist(), number.tolist()) == ([[7, 0, 0]], [1])


def test_which_values_count_is_read_off_the_events() -> None:
    data = planted_clicks()
    assert counted(data, data.events) is None
    found = counted(data, data.positives)
    assert found is not None
    assert found.tolist() == [False, False, False, False, True, True]


def test_values_that_do_not_decide_it_are_refused_by_name() -> None:
    data = planted_clicks()
    half = data.positives[: len(data.positives) // 2]
    with pytest.raises(ValueError, match=r"planted-clicks: of the events with value 4 .* are positive"):
        counted(data, half)
    bare = planted_retrieval()
    some = replace(bare, events=bare.events.with_columns(seen=pl.lit(1.0)))
    with pytest.raises(ValueError, match="events are positive and have no values"):
        counted(some, bare.events.filter(pl.col("clicked") > 0))

"""The Amazon set: what a user rated last, and the published files where they are at hand."""

import gzip
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from training.data.fields import FieldData
from training.data.ranking import Events

from training.data import hin_amazon, hin_amazon_files
from training.data.fetch import default_cache, fetch

ITEMS = np.array([[0, 0, 0, 0], [1, 1, 5, 1], [2, 1, 6, 1], [3, 1, 7, 1]])
RATINGS = {
    "user": [1, 1, 1, 1, 2],
    "item": [2, 3, 1, 2, 3],
    "rating": [5, 1, 4, 2, 3],
    "timestamp": [10, 20, 20, 30, 5],
}
NO_ITEM, NO_CATEGORY = 4, 8


def test_a_users_fields_come_from_strictly_earlier_days() -> None:
    users = hin_amazon.user_side(Events(pl.DataFrame(RATINGS)), ITEMS)
    assert users.at_event.tolist() == [
        [1, NO_ITEM, NO_CATEGORY, NO_ITEM],
        [1, 2, 6, 2],
        [1, 2, 6, 2],
        [1, 1, 5, 1],
        [2, NO_ITEM, NO_CATEGORY, NO_ITEM],
    ]


def test_after_all_events_the_last_ones_count_and_another_users_likes_do_not() -> None:
    users = hin_amazon.user_side(Events(pl.DataFrame(RATINGS)), ITEMS)
    assert users.now.tolist() == [[1, 2, 6, 1], [2, 3, 7, NO_ITEM]]


def test_the_future_does_not_change_the_fields_of_the_past() -> None:
    events = Events(pl.DataFrame(RATINGS))
    shorter = Events(pl.DataFrame(RATINGS).filter(pl.col("timestamp") < 30))
    before = hin_amazon.user_side(shorter, ITEMS).at_event
    kept = np.flatnonzero(events.timestamp < 30)
    assert np.array_equal(hin_amazon.user_side(events, ITEMS).at_event[kept], before)


@pytest.fixture(scope="module")
def data() -> FieldData:
    """The true set, where it is at hand."""
    if not (default_cache() / "hin-amazon").is_dir() and "RECSERVE_DATA" not in os.environ:
        pytest.skip("the Amazon set is not here: recserve data fetch hin-amazon")
    return hin_amazon.load()


@pytest.mark.slow
def test_the_published_set_has_its_documented_parts_and_fields(data: FieldData) -> None:
    assert (len(data.train), len(data.validation), len(data.test)) == (156_640, 19_589, 19_562)
    assert data.user_rows.shape == (6170, 4)
    assert data.item_rows.shape == (2754, 4)
    names = ("user_id", "last_item", "last_category", "last_liked", "item_id", "brand", "category", "view")
    assert data.field_names == names
    assert not data.item_rows[0].any()
    assert (data.item_rows[1:] > 0).all(), "what is not listed has an id of its own"


@pytest.mark.slow
def test_a_folder_with_packed_files_is_a_source_and_a_changed_file_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "hin" / "amazon"
    folder.mkdir(parents=True)
    for name in hin_amazon_files.SHA256:
        (folder / f"{name}.gz").write_bytes(gzip.compress(b"1,2\n"))
    monkeypatch.setenv("RECSERVE_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"item_brand\.dat: expected sha256 65f4.*, found [0-9a-f]{64}"):
        fetch("hin-amazon", tmp_path / "cache")
    assert not (tmp_path / "cache" / "hin-amazon").exists()

"""The Amazon set: what a user rated last, and the published files where they are at hand."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.training.click_views import view
from tests.training.data.published_sets import at_hand, digests_of
from training.data import hin_amazon, hin_amazon_files
from training.data.click import ClickData
from training.data.fetch import fetch

CATEGORY_OF = np.array([0, 5, 6, 7])
RATINGS = pl.DataFrame(
    {
        "user": [1, 1, 1, 1, 2],
        "item": [2, 3, 1, 2, 3],
        "value": [5, 1, 4, 2, 3],
        "label": [1.0, 0.0, 1.0, 0.0, 0.0],
        "time": [10, 20, 20, 30, 5],
    }
)
NO_ITEM, NO_CATEGORY = 4, 8
DIGESTS = {
    "splits": "40bf41331b3b2eb3",
    "features": "3c74e8f5d4c43f88",
    "profiles": "99bed626d5c5047c",
    "item profile": "c88b9ad8cc5f0828",
    "histories": "53bd38b7ca760672",
    "served histories": "20e4ffe7cc688076",
    "served fields": "78048b74aadf62a0",
}
"""Of the view with the 64 newest events; a change to any of them changes all published figures."""


def test_a_users_fields_come_from_strictly_earlier_days() -> None:
    before, _ = hin_amazon.user_side(RATINGS, CATEGORY_OF)
    assert before.columns == ["last_item", "last_category", "last_liked"]
    assert before.rows() == [
        (NO_ITEM, NO_CATEGORY, NO_ITEM),
        (2, 6, 2),
        (2, 6, 2),
        (1, 5, 1),
        (NO_ITEM, NO_CATEGORY, NO_ITEM),
    ]


def test_after_all_events_the_last_ones_count_and_another_users_likes_do_not() -> None:
    _, after = hin_amazon.user_side(RATINGS, CATEGORY_OF)
    assert after.rows() == [(NO_ITEM, NO_CATEGORY, NO_ITEM), (2, 6, 1), (3, 7, NO_ITEM)], "the first is nobody"


def test_the_future_does_not_change_the_fields_of_the_past() -> None:
    whole, _ = hin_amazon.user_side(RATINGS, CATEGORY_OF)
    shorter, _ = hin_amazon.user_side(RATINGS.filter(pl.col("time") < 30), CATEGORY_OF)
    assert whole.filter(RATINGS["time"] < 30).equals(shorter)


@pytest.fixture(scope="module")
def data() -> ClickData:
    return view(at_hand("hin-amazon"), max_length=64)


@pytest.mark.slow
def test_the_published_set_has_its_documented_parts_and_fields(data: ClickData) -> None:
    assert (len(data.train), len(data.validation), len(data.test)) == (156_640, 19_589, 19_562)
    assert data.features.users.ids.shape == (6171, 4)
    assert data.features.items.ids.shape == (2754, 4)
    names = ["user_id", "last_item", "last_category", "last_liked", "item_id", "brand", "category_set", "view"]
    assert [field.name for field in data.features.layout.fields] == names
    assert [field.name for field in data.profile.layout.fields] == [], "a history says what came last"
    assert not data.features.items.ids[0].any()
    assert (data.features.items.ids[1:] > 0).all(), "what is not listed has an id of its own"
    everyone = np.concatenate([part.features(np.arange(len(part))).ids for part in (data.train, data.test)])
    assert (everyone.max(axis=0) < data.features.layout.sizes).all()


@pytest.mark.slow
def test_ids_histories_and_splits_are_those_of_the_published_figures(data: ClickData) -> None:
    assert digests_of(data) == DIGESTS


@pytest.mark.slow
def test_an_item_without_a_title_is_called_by_the_id_that_a_client_sends() -> None:
    found = at_hand("hin-amazon")
    assert found.titles[276] == f"item {found.raw('item', 276)}" == "item 276"


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

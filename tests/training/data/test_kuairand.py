"""The published impressions as the module documents them."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.training.click_views import BOTH, view
from tests.training.data.published_sets import at_hand, digests_of
from training.data.click import ClickData
from training.data.fetch import fetch
from training.data.kuairand import OUTCOMES
from training.tasks.click_slices import scenarios_of

pytestmark = pytest.mark.slow
DIGESTS = {
    "splits": "6c44712cd108e348",
    "features": "1a48dd2708d0e98a",
    "profiles": "abdbbb351b302741",
    "item profile": "3464cc463a55a6f5",
    "histories": "71b04e6fb637d998",
    "served histories": "def56fad36edc586",
    "served fields": "bcb258b4e8bfa0db",
}
"""Of the view with the 64 newest events; a change to any of them changes all published figures."""


@pytest.fixture(scope="module")
def data() -> ClickData:
    return view(at_hand("kuairand"), BOTH, 64)


def test_the_parts_have_the_documented_sizes(data: ClickData) -> None:
    parts = (data.train, data.validation, data.test)
    assert [len(part) for part in parts] == [33_363, 4_171, 4_170]
    assert data.train.time.max() < data.validation.time.min()
    met = data.train_item_counts[data.log.item[data.test.places]]
    assert (met == 0).mean() == pytest.approx(0.634, abs=0.001), "unseen videos are the rule"


def test_ids_histories_and_splits_are_those_of_the_published_figures(data: ClickData) -> None:
    assert digests_of(data) == DIGESTS


def test_the_length_of_a_video_is_its_scenario(data: ClickData) -> None:
    lengths = data.interactions.items["length"].to_numpy()
    assert scenarios_of(data.test).tolist() == lengths[data.log.item[data.test.places]].tolist()
    shares = np.bincount(lengths[data.log.item], minlength=4) / len(data.log)
    assert shares.round(3).tolist() == [0.0, 0.561, 0.258, 0.181]
    fields = [field.name for field in data.features.layout.fields]
    assert fields == ["user_id", "video_id", "length", "duration"]


def test_outcomes_are_values_and_objectives_and_never_features(data: ClickData) -> None:
    events = data.interactions.events
    counts = np.bincount(events["value"].to_numpy(), minlength=7)
    assert dict(zip(OUTCOMES, counts[1:].tolist(), strict=True)) == {
        "not clicked, hated": 4744,
        "not clicked, liked": 9518,
        "clicked, hated": 1485,
        "clicked, liked": 6895,
        "watched long, hated": 1768,
        "watched long, liked": 17294,
    }
    shown, clicked, long = (events[name].to_numpy() for name in ("shown", "clicked", "long_view"))
    assert shown.all()
    assert not ((long > 0) & (clicked == 0)).any(), "each objective lies within the one before"
    assert (clicked == events["label"].to_numpy()).all()
    held = {field.name for layout in (data.features.layout, data.profile.layout) for field in layout.fields}
    assert not held & {"outcome", "shown", "clicked", "long_view", "label"}
    assert data.context == ()


def test_clients_send_the_published_ids(data: ClickData) -> None:
    interactions = data.interactions
    first = interactions.events.row(0)
    assert (interactions.raw("user", first[0]), interactions.raw("item", first[1])) == (111, 3_892_024)
    assert interactions.dense("user", 111) == first[0]


def test_a_packed_file_is_a_source_and_a_changed_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kuairand_like_hate"
    folder.mkdir()
    (folder / "interactions.tsv.gz").write_bytes(gzip.compress(b"user_id\tvideo_id\n"))
    monkeypatch.setenv("RECSERVE_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"interactions\.tsv: expected sha256 3211.*, found [0-9a-f]{64}"):
        fetch("kuairand", tmp_path / "cache")

"""S3-Rec's Amazon sets: the published counts, split and ranking protocol, where the files are at hand."""

import gzip
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.training.walks import digest_of, wanted
from training.data import amazon_sequences, amazon_sequences_files
from training.data.amazon_sequences import AmazonName
from training.data.fetch import ORIGINS, default_cache, fetch
from training.data.sequences import SequenceData, sequences
from training.ranking_metrics import ranking_quality

POPREC = {
    "beauty": {5: (0.0080, 0.0044), 10: (0.0152, 0.0068), 20: (0.0217, 0.0084)},
    "sports": {5: (0.0056, 0.0041), 10: (0.0094, 0.0053), 20: (0.0192, 0.0078)},
}
"""HR and NDCG by cutoff, as S3-Rec published them."""


DIGESTS = {
    "beauty": {
        "train": "61a8427262960c58",
        "validation": "407788bd4fbfb3ed",
        "test": "5d880974d4f968b8",
        "sequences": "0c08e1b3c4db537d",
        "categories": "442b9289ea54ab8e",
        "counts": "74ba939844f67803",
    },
    "sports": {
        "train": "4c62fc69b821cf50",
        "validation": "9c9e25338ff4fc93",
        "test": "da9f0cf47dc7d2a8",
        "sequences": "f53bf2d3b1b883ea",
        "categories": "e33e3ab690cd0eeb",
        "counts": "c859a9b7b06db84b",
    },
}
"""Of the arrays that recorded results were made of, with histories of 50."""


@cache
def real(name: AmazonName) -> SequenceData:
    """The true set, where it is at hand."""
    if not (default_cache() / name).is_dir() and "RECSERVE_DATA" not in os.environ:
        pytest.skip(f"the Amazon set is not here: recserve data fetch {name}")
    return sequences(amazon_sequences.read(name), wanted())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "users", "items", "choices", "num_categories"),
    [("beauty", 22_363, 12_101, 198_502, 61), ("sports", 35_598, 18_357, 296_337, 63)],
)
def test_the_published_set_has_its_documented_size(
    name: AmazonName, users: int, items: int, choices: int, num_categories: int
) -> None:
    data = real(name)
    assert (len(data.test), len(data.validation), len(data.user_ids)) == (users, 3_000, users)
    assert sum(map(len, data.sequences)) == choices
    assert (min(map(len, data.sequences)), data.train_item_counts.sum()) == (5, choices - 2 * users)
    assert data.schema["item_id"].cardinality == items + 1
    assert data.schema["user_id"].cardinality == users + 1
    assert len(data.interactions.titles) == items + 1
    assert all(data.interactions.titles)
    assert data.categories.max() == num_categories
    assert data.categories[0] == 0
    assert (data.categories[1:] > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["beauty", "sports"])
def test_popularity_over_everything_gives_the_published_popularity_row(name: AmazonName) -> None:
    """The published row counts the test part too (no row of ours does): split and protocol are the published ones."""
    data = real(name)
    everything = np.concatenate(data.sequences)
    ranks = popularity_ranks(data, np.bincount(everything, minlength=len(data.categories)))
    measured = ranking_quality(ranks)
    for cutoff, (hits, gain) in POPREC[name].items():
        assert float((ranks <= cutoff).mean()) == pytest.approx(hits, abs=5.1e-5)
        assert float(np.where(ranks <= cutoff, 1 / np.log2(ranks + 1), 0).mean()) == pytest.approx(gain, abs=5.1e-5)
        if cutoff != 20:
            assert measured[f"recall{cutoff}"] == pytest.approx(hits, abs=5.1e-5)
            assert measured[f"ndcg{cutoff}"] == pytest.approx(gain, abs=5.1e-5)


def popularity_ranks(data: SequenceData, popularity: np.ndarray) -> np.ndarray:
    """Of each test target among all items that are not in the user's history; ties: lower id first."""
    order = np.lexsort((np.arange(len(popularity)), -popularity))
    place = np.empty(len(popularity), np.int64)
    place[order[order != 0]] = np.arange(1, len(popularity))
    histories = [sequence[:-1] for sequence in data.sequences]
    targets = [int(sequence[-1]) for sequence in data.sequences]
    return np.array(
        [
            place[target] - int((place[np.unique(history)] < place[target]).sum())
            for history, target in zip(histories, targets, strict=True)
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["beauty", "sports"])
def test_the_set_is_the_one_that_recorded_results_were_made_of(name: AmazonName) -> None:
    assert digest_of(real(name)) == DIGESTS[name]


@pytest.mark.slow
def test_letters_ids_are_four_levels_of_256_with_13_collisions() -> None:
    codes = real("beauty").interactions.others["letter"]
    assert codes.shape == (12_102, 4)
    assert not codes[0].any()
    assert (codes.min(), codes.max()) == (0, 255)
    assert len(np.unique(codes[1:], axis=0)) == 12_088
    assert codes[1].tolist() == [183, 70, 232, 6]
    assert not real("sports").interactions.others


def test_files_are_parsed_into_one_form() -> None:
    tables = ORIGINS["beauty"].parse(
        {
            "sequences": b"1 3 1 2\n2 2 3 1\n",
            "attributes": b'{"1": [4, 2, 4], "3": [2]}',
            "asins": b'{"id2item": {"2": "B2", "1": "B1", "3": "B3"}}',
            "keywords": b"B3 soap bar\nB1 red lipstick\nB2 \n",
            "letter": b'{"0": ["<a_7>", "<b_0>", "<c_255>", "<d_1>"]}',
        }
    )
    assert tables["sequences"].rows() == [(1, 3), (1, 1), (1, 2), (2, 2), (2, 3), (2, 1)]
    assert tables["items"].rows() == [(1, "B1", "red lipstick", [2, 4]), (2, "B2", "", []), (3, "B3", "soap bar", [2])]
    assert tables["letter"].rows() == [(1, 7, 0, 255, 1)]


def test_a_packed_file_with_another_content_is_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in amazon_sequences_files.SPORTS.values():
        path = tmp_path / f"{file.path}.gz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(b"1 2\n"))
    monkeypatch.setenv("RECSERVE_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"s3rec/Sports_and_Outdoors\.txt: expected sha256 2a09.*, found [0-9a-f]{64}"):
        fetch("sports", tmp_path / "cache")
    assert not (tmp_path / "cache" / "sports").exists()

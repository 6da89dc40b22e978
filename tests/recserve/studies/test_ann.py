"""What `recserve study ann` draws, asks and measures."""

from pathlib import Path

import numpy as np
import pytest

from recserve.studies.ann.bench import Size, measured
from recserve.studies.ann.command import Ann
from recserve.studies.ann.mixture import NOISE, PER_CENTRE, mixture
from recserve.studies.ann.picture import draw
from recserve.studies.ann.requests import LEFT_OUT, MET, example, fresh
from training.steps.ann import factory_of

WIDTH = 16


def nearest(kind: str) -> np.ndarray:
    """Cosine of each of a few users with the nearest item."""
    source = mixture(kind, 4 * PER_CENTRE, WIDTH)
    return (source.draw(50, 2) @ source.draw(4 * PER_CENTRE, 1).T).max(axis=1)


def test_vectors_are_the_same_every_time_of_length_one_and_nearest_where_they_are_clustered() -> None:
    for kind in NOISE:
        one, again = (mixture(kind, 2_000, WIDTH).draw(100, 1) for _ in range(2))
        assert np.array_equal(one, again)
        assert np.allclose(np.linalg.norm(one, axis=1), 1, atol=1e-6)
        assert not np.array_equal(one, mixture(kind, 2_000, WIDTH).draw(100, 2))
    clustered, blurred, isotropic = (nearest(kind).mean() for kind in ("clustered", "blurred", "isotropic"))
    assert clustered > blurred > isotropic


def test_no_request_has_a_list_that_rounding_decides() -> None:
    source = mixture("isotropic", 500, WIDTH)
    vectors = np.concatenate([np.zeros((1, WIDTH), np.float32), source.draw(500, 1)])
    asked, met, named, ends = (tensor.numpy() for tensor in example(vectors, source, 10)(40, 5))
    assert (asked.shape, met.shape, len(ends), ends[-1]) == ((40, WIDTH), (40, MET), 40, len(named))
    scores = -np.sort(-(asked @ vectors[1:].T), axis=1)[:, : 10 + MET + LEFT_OUT + 1]
    assert (np.diff(-scores) > 1e-6 * scores[:, :1]).all()
    twice = np.concatenate([vectors, vectors[1:]])
    with pytest.raises(ValueError, match="rounding decides each list"):
        example(twice, source, 10)
    assert not {one["vector"].tobytes() for one in fresh(vectors, source, 20)} & {row.tobytes() for row in asked}


@pytest.mark.slow(30)
def test_both_ways_are_published_asked_the_same_and_timed() -> None:
    row = measured("clustered", Size(2_000, WIDTH, 10), 3, lambda line: None)
    assert (row["rule"], row["factory"]) == ("exact", factory_of(2_000))
    assert row["recall"] >= 0.95
    assert row["index_bytes"] < row["vectors_bytes"] < row["graph_bytes"]
    timed = [row[f"{way}_cpu_ms{suffix}"] for way in ("exact", "ann") for suffix in ("", "_of_16")]
    assert min(timed) > 0
    assert row["exact_of_ann"] == pytest.approx(row["exact_cpu_ms"] / row["ann_cpu_ms"], rel=0.05)


def test_a_result_is_drawn(tmp_path: Path) -> None:
    cost = {f"{way}_cpu_ms{suffix}": 1.0 for way in ("exact", "ann") for suffix in ("", "_of_16")}
    rows = [{"kind": kind, "items": number, "recall": 0.99, **cost} for number in (100, 1000) for kind in NOISE]
    draw({"rows": rows, "top": 10, "width": 16, "exact_items": 500}, tmp_path / "picture.svg")
    assert "<svg" in (tmp_path / "picture.svg").read_text()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"items": (10,)}, "--items must be at least 1,000"),
        ({"kinds": ("round",)}, "--kinds is round; there are clustered, blurred, isotropic"),
        ({"top": 600, "items": (1_000,)}, "--top at most half of --items"),
    ],
)
def test_what_cannot_be_measured_is_refused(option: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        Ann(output=tmp_path / "ann.json", **option)

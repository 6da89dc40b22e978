"""Bins of a reference, and drift from it."""

import json
from pathlib import Path

import numpy as np
import pytest

from serving.watch.reference import REFERENCE_FILE, Binned, Reference, counted, drift, scores_of, shares


def made(sample: np.ndarray) -> Reference:
    binned = Binned.of(sample)
    return Reference(source="example", requests=3, output="scores", scores=binned, sizes=binned, unknown={"x": 0.5})


def test_bins_have_equal_shares_of_a_continuous_sample() -> None:
    binned = Binned.of(np.random.default_rng(0).normal(size=10_000))
    assert binned.counts == (1_000,) * 10


def test_equal_values_share_a_bin_and_no_edge_lies_on_a_value() -> None:
    sample = np.repeat([1.0, 2.0, 3.0], [50, 30, 20])
    binned = Binned.of(sample)
    assert binned.edges == (1.5, 2.5)
    assert binned.counts == (50, 30, 20)
    nearly = sample + np.random.default_rng(0).uniform(-1e-5, 1e-5, 100)
    assert counted(np.array(binned.edges), nearly).tolist() == [50, 30, 20]


def test_a_sample_of_one_value_is_one_bin() -> None:
    assert Binned.of(np.full(5, 0.25)) == Binned(edges=(), counts=(5,))


def test_neighbouring_floats_are_told_apart() -> None:
    first, second = 0.5, np.nextafter(0.5, 1)
    binned = Binned.of(np.array([first, second]))
    assert binned.edges == (first,)
    assert binned.counts == (1, 1)


def test_drift_is_the_population_stability_index_worked_out_by_hand() -> None:
    expected, actual = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    by_hand = -0.25 * np.log(0.5) + 0.25 * np.log(1.5)
    assert drift(expected, actual) == pytest.approx(by_hand)
    assert drift(expected, expected) == 0


def test_an_empty_bin_makes_drift_large_and_finite() -> None:
    found = drift(shares(np.array([100, 100])), shares(np.array([0, 200])))
    assert 1 < found < 10


def test_the_same_population_drifts_little_and_a_moved_one_beyond_the_rule_of_thumb() -> None:
    random = np.random.default_rng(1)
    binned = Binned.of(random.normal(size=2_000))
    edges = np.array(binned.edges)
    same, moved = (shares(counted(edges, random.normal(mean, 1, 2_000))) for mean in (0, 0.6))
    assert drift(binned.shares, same) < 0.05
    assert drift(binned.shares, moved) > 0.25


def test_what_is_no_score_is_left_out_and_what_is_no_number_is_counted() -> None:
    scores, not_finite = scores_of(np.array([[0.5, np.nan, -1e9, np.inf, -2.0]], np.float32))
    assert scores.tolist() == [0.5, -2.0]
    assert not_finite == 2


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    reference = made(np.arange(50.0))
    reference.write(tmp_path)
    assert Reference.read(tmp_path) == reference
    assert Reference.read(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said["scores"]["counts"].pop(),
        lambda said: said["scores"]["edges"].reverse(),
        lambda said: said.pop("output"),
        lambda said: said.update(more=1),
    ],
)
def test_a_damaged_reference_is_refused_by_name(tmp_path: Path, change) -> None:
    made(np.arange(50.0)).write(tmp_path)
    path = tmp_path / REFERENCE_FILE
    said = json.loads(path.read_text())
    change(said)
    path.write_text(json.dumps(said))
    with pytest.raises(ValueError, match=r"reference\.json holds no reference of scores .* export the model again"):
        Reference.read(tmp_path)

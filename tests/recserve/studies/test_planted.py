"""`recserve study planted`: the experiments show what they must, run as commands and leave a picture."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from recserve.cli import main
from recserve.studies.planted import experiments
from recserve.studies.planted.experiments import PairResult
from recserve.studies.planted.picture import draw_pairs

Captured = pytest.CaptureFixture[str]


@pytest.mark.long
def test_the_collapse_is_shown_and_told(capsys: Captured, tmp_path: Path) -> None:
    picture = tmp_path / "collapse.png"
    assert main(["study", "planted", "collapse", "--out", str(picture), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["states"][0]["title"] == "healthy"
    place = told["fields"].index(told["collapsed"])
    assert told["states"][-1]["rho"][place] < 0.1 < told["states"][0]["rho"][place]
    drawn = imread(picture)
    assert drawn.shape[1] > 1000
    assert drawn[..., :3].std() > 0.1


def test_the_picture_of_pairs_is_drawn(tmp_path: Path) -> None:
    result = PairResult(
        best=0.9,
        epochs_with=[0.6, 0.8],
        epochs_without=[0.6, 0.62],
        with_codebooks=0.8,
        zeroed=0.5,
        without=0.62,
        rows=127,
        gated_two=0.7,
        one_codebook=0.6,
    )
    draw_pairs(result, tmp_path / "pairs.svg")
    assert "codebooks" in (tmp_path / "pairs.svg").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [("--out picture.doc", "its name must end in one of .png"), ("--out a.png --seed -1", "--seed is -1")],
)
def test_mistakes_are_told_before_the_work(capsys: Captured, words: str, message: str) -> None:
    assert main(["study", "planted", "pairs", *words.split()]) == 2
    assert message in capsys.readouterr().err


def test_the_filter_closes_on_a_field_that_collapses_and_on_no_other() -> None:
    healthy, before, after = experiments.collapse(epochs=1).states
    place = 4
    others = [field for field in range(6) if field != place]
    assert healthy.rho[place] > 0.4
    assert after.rho[place] == pytest.approx(1 / 16, rel=1e-3)
    for state in (healthy, before):
        assert np.max(state.pruned) == 0
        assert np.mean(np.array(state.weight)[others, place]) > 0.1
    assert np.array(after.pruned)[others, place].tolist() == [1.0] * 5
    assert np.array(after.weight)[others, place].max() == 0
    assert np.array(after.pruned)[np.ix_(others, others)].max() == 0


@pytest.fixture(scope="module")
def pair_result() -> PairResult:
    return experiments.pairs(epochs=4)


@pytest.mark.slow
@pytest.mark.long
def test_labels_of_pairs_alone_are_learnt_with_codebooks_and_not_without(pair_result: PairResult) -> None:
    assert pair_result.best > 0.89
    assert pair_result.with_codebooks > 0.8
    assert pair_result.without < 0.7
    assert pair_result.zeroed < 0.6


@pytest.mark.long
@pytest.mark.slow
def test_two_gated_codebooks_bear_collisions_better_than_one_of_equal_size(pair_result: PairResult) -> None:
    assert pair_result.gated_two > pair_result.one_codebook + 0.03

"""`recserve planted`: the experiments run as commands and leave a picture."""

import json
from pathlib import Path

import pytest
from matplotlib.image import imread

from recserve.cli import main
from recserve.pictures import draw_pairs
from training.systems.dea.planted import PairResult

Captured = pytest.CaptureFixture[str]


def test_the_collapse_is_shown_and_told(capsys: Captured, tmp_path: Path) -> None:
    picture = tmp_path / "collapse.png"
    assert main(["planted", "collapse", "--out", str(picture), "--json"]) == 0
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
    assert main(["planted", "pairs", *words.split()]) == 2
    assert message in capsys.readouterr().err

"""`recserve export RUN --tables FORM`: what the smaller tables cost is measured, shown, kept and bounded."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from recserve import gate, runs
from recserve.cli import main
from recserve.stored import Storing, prices, stored
from serving import manifest
from tests.recserve.releases import registered


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of one epoch."""
    with registered(tmp_path_factory.mktemp("stored")) as root:
        words = ["train", "fm", "--dataset", "plain", "--runs", str(root / "runs"), "--max-epochs", "1"]
        assert main([*words, "--config.dim", "8"]) == 0
        yield next((root / "runs" / "fm").iterdir())


@pytest.mark.slow
def test_the_price_is_shown_and_kept_in_the_release(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(run), "--repository", str(tmp_path / "models")]
    assert main([*words, "--tables", "int8", "--tables-max-loss", "0.2"]) == 0
    printed = capsys.readouterr().out
    assert "float32" in printed
    assert "tables as int8" in printed
    (measured,) = gate.recorded(tmp_path / "models", "fm", 1)
    trained = runs.load(run)
    assert measured.unrounded == {name: trained.metrics["test"][name] for name in ("auc", "gauc")}
    rounded = stored(trained, Storing(form="int8", most_loss=0.2))
    assert measured.test == rounded.metrics["test"]
    for price in prices(rounded):
        assert price.loss == price.unrounded - price.rounded
        assert f"{price.rounded:.4f}" in printed
    assert main(words) == 0, "the next version may have whole tables again"
    tables = [manifest.read(tmp_path / "models" / "fm" / str(number)).get("tables") for number in (1, 2)]
    assert [one and one["form"] for one in tables] == ["int8", None]


def test_a_loss_beyond_the_bound_is_refused_with_both_figures(run: Path) -> None:
    trained = runs.load(run)
    before = f"{trained.metrics['test']['auc']:.4f}"
    with pytest.raises(
        ValueError, match=f"with tables as fp16 AUC is 0.*, not {before}, .* --tables-max-loss -1 allows"
    ):
        stored(trained, Storing(form="fp16", most_loss=-1.0))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tables-max-loss", "0.1"), "say --tables fp16 or int8 too"),
        (("--tables", "int8", "--tables-max-loss", "-0.1"), "--tables-max-loss is -0.1; it must not be negative"),
    ],
)
def test_a_bound_that_means_nothing_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert main(["export", str(run), "--repository", str(tmp_path / "models"), *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_factory_has_no_test_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", "tests.export.models:release", "--repository", str(tmp_path / "models"), "--tables", "fp16"]
    assert main(words) == 2
    assert "--tables is measured on the test part of a run" in " ".join(capsys.readouterr().err.split())

"""`recserve export RUN --then-rank RUN` with runs that do not belong together."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from recserve.cli import main
from training.data.fetch import default_cache

SIZES = ["--config.max-length", "16"]
GENERATOR = ["--config.dataset", "synthetic-sequences", "--config.preference-epochs", "0", "--config.beams", "4"]


@pytest.mark.slow
def test_a_generator_and_a_ranker_of_other_items_are_not_joined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (default_cache() / "ml-100k").is_dir() and "RECSERVE_DATA" not in os.environ:
        pytest.skip("MovieLens-100k is not here: recserve data fetch ml-100k")

    def run(*words: Any) -> str:
        capsys.readouterr()
        assert main(["train", *map(str, words), "--runs", str(tmp_path), "--max-epochs", "1", "--json"]) == 0
        return json.loads(capsys.readouterr().out)["runs"][0]

    ranker, generator = run("lrea", *SIZES), run("reg4rec", *GENERATOR)
    repository = tmp_path / "repository"
    for first, second, said in (
        (generator, ranker, "different items: the 61 ids of synthetic-sequences are not the 1683 of ml-100k"),
        (ranker, generator, "'reg4rec' does not rank"),
    ):
        assert main(["export", first, "--then-rank", second, "--repository", str(repository)]) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    assert not repository.exists()

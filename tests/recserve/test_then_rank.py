"""`recserve export RUN --then-rank RUN`: runs of the same items are joined, others are not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recserve import gate
from recserve.cli import main
from serving import releases
from tests.recserve.releases import registered

SMALL = ("--config.dim", "8")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with registered(tmp_path_factory.mktemp("then_rank")) as root:
        yield root


@pytest.mark.slow
def test_a_generator_and_a_ranker_are_joined_where_they_know_the_same_items(
    sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, dataset: str) -> str:
        capsys.readouterr()
        words = ["train", name, "--dataset", dataset, "--runs", str(sets / "runs"), "--max-epochs", "1", "--json"]
        assert main([*words, *SMALL]) == 0
        return json.loads(capsys.readouterr().out)["runs"][0]

    def export(first: str, second: str, code: int) -> Any:
        words = ["export", first, "--then-rank", second, "--repository", str(sets / "models"), "--json"]
        assert main(words) == code
        printed = capsys.readouterr()
        return json.loads(printed.out) if code == 0 else " ".join(printed.err.split())

    generator, ranker = run("sasrec", "plain"), run("fm", "plain")
    elsewhere, of_a_moment = run("fm", "simulated-students"), run("fm", "moment")
    for first, second, said in (
        (generator, elsewhere, "different items: the 81 ids of plain are not the "),
        (generator, of_a_moment, "'fm' does not rank: it must answer user_id, candidates with scores, not user_id, "),
        (generator, generator, "'sasrec' does not rank"),
        (ranker, generator, "'fm' generates no int64 'items'"),
    ):
        assert said in export(first, second, 2)
    assert not (sets / "models").exists()
    assert export(generator, ranker, 0)["models"] == ["sasrec", "fm", "generate_then_rank"]
    assert releases.names(sets / "models") == ["generate_then_rank"], "one release, which moves as one"
    measured = gate.recorded(sets / "models", "generate_then_rank", 1)
    assert [(one.run, one.system) for one in measured] == [(generator, "sasrec"), (ranker, "fm")]

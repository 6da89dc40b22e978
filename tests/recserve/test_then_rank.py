"""`recserve export RUN --then-rank RUN`: runs of the same users and items are joined, others are not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recserve import gate
from recserve.cli import main
from serving import releases
from serving.configs import read_config
from tests.recserve.releases import registered

SMALL = ("--config.dim", "8")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with registered(tmp_path_factory.mktemp("then_rank")) as root:
        yield root


@pytest.mark.slow
def test_a_retriever_and_a_ranker_are_joined_where_they_know_the_same_items(
    sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, dataset: str) -> str:
        capsys.readouterr()
        words = ["train", name, "--dataset", dataset, "--runs", str(sets / "runs"), "--max-epochs", "1", "--json"]
        assert main([*words, *SMALL]) == 0
        return json.loads(capsys.readouterr().out)["runs"][0]

    def export(first: str, second: str, code: int, repository: str = "models") -> Any:
        words = ["export", first, "--then-rank", second, "--retrieve", "20", "--repository", str(sets / repository)]
        words.append("--json")
        assert main(words) == code
        printed = capsys.readouterr()
        return json.loads(printed.out) if code == 0 else " ".join(printed.err.split())

    retriever, ranker = run("two_tower", "plain"), run("fm", "plain")
    elsewhere, of_a_moment = run("fm", "simulated-students"), run("fm", "moment")
    for first, second, said in (
        (retriever, elsewhere, "different items: the 81 ids of plain are not the "),
        (retriever, retriever, "'two_tower' does not rank: it must answer user_id, candidates with scores, not "),
        (ranker, ranker, "a model of the task click lists nothing of its own accord"),
    ):
        assert said in export(first, second, 2)
    assert not (sets / "models").exists()
    assert export(retriever, ranker, 0)["models"][-3:] == [
        "retrieve_then_rank_retriever",
        "retrieve_then_rank_top",
        "retrieve_then_rank",
    ]
    assert releases.names(sets / "models") == ["retrieve_then_rank"], "one release, which moves as one"
    measured = gate.recorded(sets / "models", "retrieve_then_rank", 1)
    assert [(one.run, one.system) for one in measured] == [(retriever, "two_tower"), (ranker, "fm")]
    # What a moment's field is of, a client says with each request.
    inputs = export(run("sasrec", "moment"), of_a_moment, 0, repository="others")["models"]
    assert inputs[-1] == "retrieve_then_rank"
    config = read_config(sets / "others" / "retrieve_then_rank", "cpu")
    assert {"user_id", "k", "excluded", "only_brand", "page", "hour"} == {one.name for one in config.input}

"""The study of served tracing against a real server: both ways answer alike, and what is refused."""

import json
from pathlib import Path

import pytest

from recserve.cli import main
from recserve.studies.tracing_load.lesson import WAYS
from tests.recserve.school import models, registered

Captured = pytest.CaptureFixture[str]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.triton_server
def test_reports_and_questions_of_students_at_once_are_timed_and_both_ways_answer_alike(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, capsys: Captured
) -> None:
    output = tmp_path / "load.json"
    with registered(tmp_path) as data:
        repository = models(tmp_path_factory, data)
        words = ["--answers", "3", "12", "60", "--students", "3", "--cycles", "4", "--questions", "5"]
        asked = ["study", "tracing-load", "pfa", "--repository", str(repository), *words, "--output", str(output)]
        assert main(asked) == 0, capsys.readouterr().err
    said = json.loads(output.read_text())
    assert [row["answers"] for row in said["rows"]] == [3, 12, 60]
    for row in said["rows"]:
        assert row["gap"] < 1e-5
        assert all(0 < row[way]["p50_ms"] <= row[way]["p99_ms"] for way in WAYS)
    assert (said["model"], said["dataset"]) == ("pfa", "school")
    assert "asked by student, state kept" in output.with_suffix(".svg").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pfa"], "has no pfa: export a tracing model of a live data set into it"),
        (["pfa", "--students", "0"], "--students, --cycles, --questions and --answers must be at least 1"),
    ],
)
def test_what_cannot_be_timed_is_refused(words: list[str], said: str, tmp_path: Path, capsys: Captured) -> None:
    asked = ["study", "tracing-load", *words, "--repository", str(tmp_path), "--output", str(tmp_path / "x.json")]
    assert main(asked) == 2
    assert said in " ".join(capsys.readouterr().err.split())

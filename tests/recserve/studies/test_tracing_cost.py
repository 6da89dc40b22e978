"""What an answer costs tracing models: states are made by steps, and answer as the whole history does."""

from pathlib import Path

import numpy as np
import pytest

from recserve.studies.tracing_cost import bench
from recserve.studies.tracing_cost.picture import draw
from training.interactions import Interactions
from training.tasks.click import CLICK
from training.tasks.tracing import TRACING


@pytest.fixture(scope="module")
def planted() -> Interactions:
    return TRACING.planted()


@pytest.fixture(scope="module")
def repository(planted: Interactions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    bench.export(["pfa"], planted, folder, lambda _: None)
    return folder


def test_answers_are_those_of_one_student_over_and_over(planted: Interactions) -> None:
    answers = bench.answers_of(planted, 300)
    events = planted.events.filter(planted.events["user"] == int(answers.user_id[0])).sort("time")
    assert 100 < len(events) < 300
    assert answers.questions.tolist() == [*events["item"], *events["item"], *events["item"]][:300]
    assert answers.responses.tolist() == [int(right) for right in [*events["label"]] * 3][:300]


@pytest.mark.long
def test_every_way_is_timed_after_each_number_of_answers_and_drawn(
    planted: Interactions, repository: Path, tmp_path: Path
) -> None:
    answers = bench.answers_of(planted, 300)
    rows = bench.run(repository, ["pfa"], answers, [5, 300], 6, lambda _: None)
    assert {(row["way"], row["answers"]) for row in rows} == {(way, n) for way in bench.WAYS for n in (5, 300)}
    assert all(row["cpu_ms"] > 0 for row in rows)
    assert {row["state_bytes"] for row in rows} == {2 * 6 * 4}, "as many after 300 as after 5"
    assert bench.ratios(rows)["pfa"].keys() == {*bench.WAYS}
    draw(rows, tmp_path / "cost.png")
    assert (tmp_path / "cost.png").stat().st_size > 10_000


def test_a_state_is_what_so_many_steps_leave(planted: Interactions, repository: Path) -> None:
    answers = bench.answers_of(planted, 40)
    states = bench._states(repository, "pfa", answers, [7, 40])
    concepts = planted.items["concepts"].to_list()
    for length, state in states.items():
        wins = np.zeros(6)
        for question, right in zip(answers.questions[:length], answers.responses[:length], strict=True):
            wins[concepts[question]] += right
        assert state["wins"][0].tolist() == wins.tolist()


def test_nothing_is_timed_where_state_and_history_answer_differently() -> None:
    with pytest.raises(ValueError, match=r"pfa_ask answers 0\.25 from pfa; nothing was timed"):
        bench._agree("pfa", [np.array([0.5]), np.zeros(2)], [np.array([0.75]), np.zeros(2)])
    with pytest.raises(ValueError, match="nothing was timed"):
        bench._agree("pfa", [np.array([np.nan])], [np.array([0.75])])


def test_what_does_not_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fm is of the task click; name systems of tracing"):
        bench.export(["fm"], CLICK.planted(), tmp_path, lambda _: None)
    with pytest.raises(ValueError, match="no system is called 'fmm'"):
        bench.export(["fmm"], CLICK.planted(), tmp_path, lambda _: None)

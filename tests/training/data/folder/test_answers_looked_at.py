"""What is proposed for a table of answers, and what of one is warned of."""

from pathlib import Path

import polars as pl

from tests.training.data.folder.test_answers import EACH, OWN, QUESTIONS, STUDENTS, answers, put, read, told, written
from training.data.folder.build import inspect
from training.data.folder.template import propose
from training.data.tracing import tracing_view
from training.interactions import silent
from training.system import PLAIN


def test_a_proposal_for_answers_names_their_concepts_and_what_a_server_can_keep(tmp_path: Path) -> None:
    table = answers().rename({"student": "pupil", "right": "correct", "at": "answered_at"})
    proposed = propose(written(tmp_path, table, schema=""))
    for line in (
        'user = "pupil"',
        'item = "question"',
        'value = "correct"',
        'positive = ">= 1"',
        'concepts = "skills"',
    ):
        assert line in proposed
    (tmp_path / "schema.toml").write_text(proposed)
    assert told(tmp_path) == []
    assert len(tracing_view(read(tmp_path), PLAIN).concepts) == QUESTIONS + 1


def warned(place: Path) -> list[str]:
    return [str(one) for one in inspect(place, None, silent).problems.warnings]


def test_values_that_are_neither_right_nor_wrong_and_students_without_a_history_are_warned_of(tmp_path: Path) -> None:
    by_value = OWN.replace('label = "right"', 'value = "right"\npositive = ">= 1"')
    assert warned(written(tmp_path / "good", answers(), schema=by_value)) == []
    odd = put(put(answers(), "right", 3, 2), "right", 9, -1)
    assert warned(written(tmp_path / "odd", odd, schema=by_value)) == [
        "events.csv, column 'right': has 2 values other than 0 and 1, such as 2; what is >= 1 counts as a right "
        "answer, all else as a wrong one"
    ]
    once = answers().with_columns(student=pl.Series([f"pupil-{number}" for number in range(STUDENTS * EACH)]))
    assert warned(written(tmp_path / "once", once, schema=OWN)) == [
        "events.csv, column 'student': has fewer than 2 answers of a student on average; a model of students has next "
        "to no history to read"
    ]

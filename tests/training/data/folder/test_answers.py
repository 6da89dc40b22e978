"""Answers of students as own tables, and in the forms of pyKT and RoboMission; all made up here."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from training.data.folder import folder
from training.data.folder.build import inspect
from training.data.folder.template import propose
from training.data.tracing import TracingData, tracing_view
from training.interactions import Interactions, silent
from training.system import PLAIN

STUDENTS, QUESTIONS, EACH = 12, 6, 10
CONCEPTS = [["sum"], ["carry", "sum"], ["carry"], ["times"], ["sum", "times"], ["times"]]
OWN = """\
name = "school"
licence = "internal"
[events]
user = "student"
item = "question"
label = "right"
time = "at"
concepts = "skills"
"""


def answers() -> pl.DataFrame:
    """Twelve students with names, ten answers each."""
    random = np.random.default_rng(0)
    question = random.integers(QUESTIONS, size=STUDENTS * EACH)
    return pl.DataFrame(
        {
            "student": np.repeat([f"pupil-{number}" for number in range(STUDENTS)], EACH),
            "question": question + 100,
            "right": random.integers(2, size=len(question)),
            "at": 1_700_000_000 + np.arange(len(question)),
            "skills": ["|".join(CONCEPTS[one]) for one in question],
        }
    )


def written(place: Path, table: pl.DataFrame, file: str = "events.csv", schema: str | None = None) -> Path:
    place.mkdir(exist_ok=True)
    table.write_csv(place / file)
    (place / "schema.toml").write_text(propose(place) if schema is None else schema)
    return place


def told(place: Path) -> list[str]:
    return [str(one) for one in inspect(place, None, silent).problems.errors]


def read(place: Path) -> Interactions:
    return folder(place).read(None, silent)


def named(data: TracingData, question: object) -> list[str]:
    """Concepts of a question by their names."""
    values = data.schema.only("concept", "item").values
    assert values is not None
    raw = data.interactions.named("item", str(question))
    return [values[one] for one in data.concepts[data.interactions.dense("item", raw)] if one]


def test_concepts_of_a_table_of_answers_are_those_of_the_questions(tmp_path: Path) -> None:
    data = tracing_view(read(written(tmp_path, answers(), schema=OWN)), PLAIN)
    assert len(data.interactions.events) == STUDENTS * EACH
    assert [named(data, 100 + number) for number in range(QUESTIONS)] == CONCEPTS
    assert data.q_matrix.nnz == sum(map(len, CONCEPTS))


def test_lists_of_parquet_and_other_separators_do_as_well(tmp_path: Path) -> None:
    table = answers()
    listed = table.with_columns(pl.col("skills").str.split("|"))
    written(tmp_path, table, schema=OWN)
    (tmp_path / "events.csv").unlink()
    listed.write_parquet(tmp_path / "events.parquet")
    assert named(tracing_view(read(tmp_path), PLAIN), 101) == CONCEPTS[1]
    other = OWN.replace('"skills"', '{ column = "skills", separator = "+" }')
    place = written(
        tmp_path / "plus", table.with_columns(pl.col("skills").str.replace_all("|", "+", literal=True)), schema=other
    )
    assert named(tracing_view(read(place), PLAIN), 101) == CONCEPTS[1]


def put(table: pl.DataFrame, column: str, row: int, value: object) -> pl.DataFrame:
    values = table[column].to_list()
    values[row - 1] = value
    return table.with_columns(pl.Series(column, values))


def test_a_question_that_changes_its_concepts_and_an_answer_without_any_are_refused_by_row(tmp_path: Path) -> None:
    table = answers()
    first, second = (np.flatnonzero(table["question"].to_numpy() == 101)[:2] + 1).tolist()
    turned = put(table, "skills", second, "sum|carry")
    assert told(written(tmp_path, turned, schema=OWN)) == []
    other = put(table, "skills", second, "sum")
    assert told(written(tmp_path, other, schema=OWN)) == [
        f"events.csv, column 'skills', row {second}: names other concepts of the same question than row {first}; "
        "write the same ones, or give each variant of the question an id of its own"
    ]
    assert told(written(tmp_path, put(table, "skills", 7, ""), schema=OWN)) == [
        "events.csv, column 'skills', row 7: is empty; name what the question asks for, or leave the row out"
    ]


@pytest.mark.parametrize(
    ("schema", "line"),
    [
        (OWN + '[items.fields]\nname = "text"\n', "[events] concepts are those of the items, which [items] describes"),
        (OWN.replace('"skills"', '"right"'), "column 'right' is concepts and label: a model would read"),
        (
            OWN.replace('"skills"', '{ colum = "skills" }'),
            "[events.concepts] colum is not known; did you mean 'column'?",
        ),
        (OWN + 'format = "pykt"\n', "[events] format says how a file is to be read; name it"),
        (OWN + 'file = "a.csv"\nformat = "pytk"\n', "[events] format is 'pytk'; did you mean 'pykt'?"),
    ],
)
def test_a_schema_that_cannot_be_meant_is_refused(tmp_path: Path, schema: str, line: str) -> None:
    assert any(line in one for one in told(written(tmp_path, answers(), schema=schema)))


def test_no_line_names_a_student(tmp_path: Path) -> None:
    table = answers()
    twice = pl.concat([table, table[4:5]])
    late = put(table, "at", 3, 1_600_000_000).with_columns(position=pl.int_range(pl.len()))
    near = put(table, "student", 3, "PUPIL-0")
    for broken, schema in (
        (twice, OWN),
        (late, OWN + 'order = "position"\n'),
        (near, OWN),
        (put(table, "student", 3, "pupil-0" * 200), OWN),
    ):
        found = inspect(written(tmp_path, broken, schema=schema), None, silent).problems.found
        assert found
        assert not [one for one in found if "pupil" in str(one).lower()]


PYKT = {"fold": 0, "uid": "pupil-0"}


def pykt(length: int = 8) -> pl.DataFrame:
    """The same answers, in lines of at most so many."""
    lines = []
    for (student,), own in answers().group_by("student", maintain_order=True):
        rows = [*own.iter_rows(named=True)]
        for start in range(0, EACH, length):
            part = rows[start : start + length]
            padding = ["-1"] * (length - len(part))
            columns = {
                "questions": [str(row["question"]) for row in part],
                "concepts": [row["skills"].replace("|", "_") for row in part],
                "responses": [str(row["right"]) for row in part],
                "timestamps": [str(1_000 * row["at"]) for row in part],
                "selectmasks": ["1"] * len(part),
            }
            joined = {name: ",".join([*values, *padding]) for name, values in columns.items()}
            lines.append({"fold": 0, "uid": student, **joined})
    return pl.DataFrame(lines)


QUELEVEL = "train_valid_sequences_quelevel.csv"


def test_pykts_lines_become_one_row_for_each_answer_in_their_order(tmp_path: Path) -> None:
    place = written(tmp_path / "school", pykt(), QUELEVEL)
    for other in ("train_valid_sequences.csv", "test_sequences_quelevel.csv"):
        (place / other).write_bytes((place / QUELEVEL).read_bytes())
    assert f'file = "{QUELEVEL}"' in propose(place)
    (place / "schema.toml").write_text(propose(place))
    found, expected = read(place), answers()
    assert found.licence.startswith("unknown")
    assert [found.raw("item", one) for one in found.events["item"]] == expected["question"].to_list()
    assert found.events["label"].to_list() == expected["right"].to_list()
    assert found.events["order"].to_list() == [*range(EACH)] * STUDENTS
    data = tracing_view(found, PLAIN)
    assert [named(data, 100 + number) for number in range(QUESTIONS)] == CONCEPTS
    timed = propose(place).replace("# time", "time")
    (place / "schema.toml").write_text(timed)
    assert read(place).events["time"][0] == 1_700_000_000_000


def test_of_pykts_windows_what_stands_in_an_earlier_line_is_left_out(tmp_path: Path) -> None:
    lines = pykt()
    masks = lines["selectmasks"].to_list()
    masks[0] = ",".join(["-1"] * 7 + ["1"])
    found = read(written(tmp_path, lines.with_columns(selectmasks=pl.Series(masks)), QUELEVEL))
    assert len(found.events) == STUDENTS * EACH - 7


def test_a_set_of_pykt_without_questions_or_times_has_concepts_as_questions(tmp_path: Path) -> None:
    lines = pykt().with_columns(questions=pl.lit("NA"), timestamps=pl.lit("NA"))
    found = read(written(tmp_path, lines, QUELEVEL))
    assert len(found.items) - 1 == len({*map(str, CONCEPTS)})
    assert "time" not in found.events.columns


@pytest.mark.parametrize(
    ("row", "column", "value", "line"),
    [
        (2, "responses", "1,0,2,-1,-1,-1,-1,-1", ""),
        (2, "responses", "1,2,-1,-1,-1,-1,-1,-1", "row 2: is '2'; write 1 for a right answer, else 0"),
        (3, "questions", "101,102", "row 3: has 2 values and selectmasks has 8; write as many"),
        (3, "concepts", "sum,-1,sum,sum,sum,sum,sum,sum", "row 3: is '-1'; name it, or mask the answer"),
        (5, "uid", None, "row 5: is empty (8 such values); say who answered"),
    ],
)
def test_a_line_of_pykt_that_is_wrong_is_refused_by_row_and_column(
    tmp_path: Path, row: int, column: str, value: object, line: str
) -> None:
    found = told(written(tmp_path, put(pykt(), column, row, value), QUELEVEL))
    assert [one.startswith(f"{QUELEVEL}, column '{column}', {line}") for one in found] == ([True] if line else [])
    assert "pupil" not in str(found)


def test_a_file_of_pykt_with_a_place_for_each_concept_is_refused(tmp_path: Path) -> None:
    repeats = pl.Series(["0,1" + ",0" * 6] * len(pykt()))
    (line,) = told(written(tmp_path, pykt().with_columns(is_repeat=repeats), "train_valid_sequences.csv"))
    assert line.startswith(
        "train_valid_sequences.csv, column 'is_repeat', row 1: gives each concept an answer of its own"
    )
    schema = propose(tmp_path)
    (line,) = told(written(tmp_path / "other", answers(), "train_valid_sequences.csv", schema))
    assert line.startswith("train_valid_sequences.csv, column 'uid': is not there; it has student")


def robomission() -> pl.DataFrame:
    table = answers()
    question = table["question"].to_numpy() - 100
    return pl.DataFrame(
        {
            "id": range(len(table)),
            "event_order": range(len(table)),
            "student": table["student"],
            "item": table["question"],
            "start": ["2017-11-05 20:37:54"] * len(table),
            "item_setting": [json.dumps({"toolbox": ["fly", f"b{one}"], "fields": "k|k"}) for one in question],
            "item_solution": ["f"] * len(table),
            "item_order": [f"({1 + one // 3}, {1 + one % 3}, 1)" for one in question],
            "solved": [bool(one) for one in table["right"]],
            "time": [2.5] * len(table),
            "response_time_sec": [12] * len(table),
        }
    )


def test_robomissions_attempts_are_answers_with_the_sublevel_or_the_blocks_as_concepts(tmp_path: Path) -> None:
    place = written(tmp_path, robomission(), "attempts.csv")
    found, expected = read(place), answers()
    assert "GPL-3.0" in found.licence
    assert found.events["label"].to_list() == expected["right"].to_list()
    assert named(tracing_view(found, PLAIN), 104) == ["2.2"]
    (place / "schema.toml").write_text(propose(place).replace('"sublevel"', '"blocks"'))
    assert named(tracing_view(read(place), PLAIN), 104) == ["fly", "b4"]


@pytest.mark.parametrize(
    ("column", "value", "line"),
    [
        ("item_order", "(1, 2)", "is '(1, 2)'; write (level, sublevel, place)"),
        ("item_setting", "{}", "has no toolbox; write the JSON of the item with its toolbox"),
        ("student", None, "is empty; give each row one"),
        ("solved", "perhaps", "is 'perhaps'; write 0 or 1"),
    ],
)
def test_an_attempt_that_is_wrong_is_refused_by_row_and_column(
    tmp_path: Path, column: str, value: object, line: str
) -> None:
    table = robomission().with_columns(pl.col("solved").cast(pl.String))
    (found,) = told(written(tmp_path, put(table, column, 7, value), "attempts.csv"))
    assert found.startswith(f"attempts.csv, column '{column}', row 7: {line}")

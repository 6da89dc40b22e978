"""How tables are printed: whole into a pipe, within the terminal else."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from recserve.cli import main
from recserve.commands.command import show, table
from training.data.fetch import ORIGINS
from training.datasets import DATASETS

HEAD = ["system", "what", "AUC", "served AUC"]
ROWS = [["din", "a network that reads what one has met before", "0.7507 ± 0.0021", ""], ["fm", "pairs", "0.70", ""]]


def printed(width: int, *, terminal: bool, title: str = "systems", rows: list[list[str]] = ROWS) -> list[str]:
    file = StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    show(console, table(title, HEAD, rows))
    return file.getvalue().splitlines()


def test_a_pipe_gets_each_row_as_one_line_with_all_columns() -> None:
    lines = printed(20, terminal=False)
    assert lines[0] == "systems"
    assert len(lines) == 1 + 3 + len(ROWS) + 1
    assert all(one in "".join(lines) for one in (*HEAD, *ROWS[0]))


def test_a_terminal_that_is_wide_enough_gets_the_same() -> None:
    assert printed(120, terminal=True) == printed(120, terminal=False)


def test_a_narrower_terminal_gets_folded_cells_without_columns_that_are_empty() -> None:
    lines = printed(50, terminal=True)
    assert max(map(len, lines)) <= 50
    assert "served" not in "".join(lines)
    assert "0.7507" in "".join(lines)


def test_a_terminal_that_is_too_narrow_for_words_gets_a_line_for_each_cell() -> None:
    lines = printed(24, terminal=True)
    assert max(map(len, lines)) <= 24
    assert [line.split()[-1] for line in lines if line.startswith("system ")] == ["din", "fm"]
    assert any(line.split() == ["AUC", "0.7507", "±", "0.0021"] for line in lines)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_title_is_one_line_above_whatever_the_width_of_the_table(terminal: bool) -> None:
    title = "paths of [x]: a title that is wider than the table below it is"
    assert printed(80, terminal=terminal, title=title, rows=[["din", "a", "", ""]])[0] == title


def test_no_line_of_a_list_of_commands_ends_with_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["data", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  fetch ") for line in lines)
    assert [line for line in lines if line != line.rstrip()] == []


def test_what_is_no_data_set_is_marked_in_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list", "--cache", str(tmp_path), "--json"]) == 0
    listed = {one["name"]: one["what"] for one in json.loads(capsys.readouterr().out)}
    assert {name for name in listed if name in ORIGINS and "side table" in listed[name]} == {*ORIGINS} - {*DATASETS}

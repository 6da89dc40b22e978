"""The names that the command line lists, the commands behind them, and what these say of their options."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recserve import cli
from recserve.commands.command import Command
from recserve.options import options_of
from recserve.place import Group, Place
from recserve.registry import COMMANDS
from recserve.studies.places import STUDIES
from training.registry import SYSTEMS

NO_NOUN = frozenset(
    "of as at by for from in on to with only also what who whose which how where when whether it its "
    "write print show delete keep go train refuse ask take draw give say use publish export list fetch "
    "everything each fewer more another".split()
)
"""First words of helps that say something of the option and not what it is."""


def commands(group: Group = COMMANDS, before: str = "") -> Iterator[tuple[str, type[Command]]]:
    """Each command with the words that name it."""
    for name, one in cli.members_of(group).items():
        words = f"{before} {name}".strip()
        if isinstance(one, Group):
            yield from commands(one, words)
        else:
            yield words, cli.class_of(one)


def places(group: Group = COMMANDS) -> Iterator[Place]:
    for one in group.members.values():
        if isinstance(one, Group):
            yield from places(one)
        else:
            yield one


ALL = dict(commands())
FIELDS = {words: {field.name: field for field in dataclasses.fields(one)} for words, one in ALL.items()}
WITH_RESULT = {words: one for words, one in FIELDS.items() if words.startswith("study ") and "output" in one}


def test_every_system_and_every_study_is_a_command() -> None:
    assert {f"train {name}" for name in SYSTEMS} <= ALL.keys()
    studies = {words.split()[1] for words in ALL if words.startswith("study ")}
    assert studies == {*STUDIES}


@pytest.mark.parametrize("place", list(places()), ids=lambda place: place.where)
def test_a_registered_command_exists_and_describes_itself_so(place: Place) -> None:
    found = cli.class_of(place)
    assert issubclass(found, Command)
    assert found.run is not Command.run
    assert found.__doc__ is not None
    assert place.description == found.__doc__.splitlines()[0]


@pytest.mark.parametrize("words", ALL)
def test_the_help_of_each_option_starts_with_a_noun(words: str) -> None:
    options = options_of(ALL[words])
    assert options
    for option in options:
        first = re.match(r"(?:[A-Za-z]{1,2}: )?([A-Za-z]+)", option.help)
        assert first, f"{option.name}: '{option.help}' starts with no word"
        assert first[1].lower() not in NO_NOUN, f"{option.name}: '{option.help}' does not start with a noun"


@pytest.mark.parametrize("words", ALL)
def test_what_a_command_writes_lies_where_it_is_run_and_not_beside_our_code(words: str) -> None:
    written = [one for one in options_of(ALL[words]) if one.name in {"--output", "--out"} and one.default]
    assert not [one.name for one in written if isinstance(one.default, Path) and one.default.is_absolute()]


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("x.svg", "--output is x.svg; its name must end in .json"),
        ("folder.json", "--output is folder.json; it is a folder"),
        ("file/x.json", "--output is file/x.json; file is a file, no folder"),
    ],
)
@pytest.mark.parametrize("words", WITH_RESULT)
def test_a_study_refuses_a_result_that_could_not_be_written(
    words: str, output: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").touch()
    asked: dict[str, Any] = {"output": Path(output)}
    asked |= {name: ("x",) for name, field in WITH_RESULT[words].items() if field.default is dataclasses.MISSING}
    with pytest.raises(ValueError, match=complaint.replace(".", "[.]")):
        ALL[words](**asked)


@pytest.mark.parametrize("words", ALL)
def test_help_lists_each_option_with_what_it_is_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit, match="0"):
        cli.main([*words.split(), "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.startswith(f"usage: recserve {words} ")
    for option in options_of(ALL[words]):
        assert f"{option.name} " in printed
        assert option.text in printed

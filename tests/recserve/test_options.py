"""A dataclass read from words: types, defaults, names, and mistakes."""

import re
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from recserve.options import Named, Positional, naming, options_of, parse


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of a network."""

    dim: int = 8
    """Width of vectors."""
    hidden: tuple[int, int] = (4, 2)
    """Units of both layers."""

    def __post_init__(self) -> None:
        if self.dim % 2:
            raise ValueError(f"dim ({self.dim}) must be even")


@dataclass(frozen=True, kw_only=True)
class Base:
    """What both have."""

    json: bool = False
    """JSON."""


@dataclass(frozen=True, kw_only=True)
class Work(Base):
    """Work on a folder."""

    folder: Positional[Path | None] = None
    """Folder of the work."""
    user: int
    """Id of
    the user."""
    rates: tuple[float, ...] = ()
    """Rates at 100 %."""
    mode: Literal["fast", "exact"] = "exact"
    """Way of working."""
    name: str | None = None
    """Name of the work."""
    quiet: bool = True
    """Silence."""
    sizes: Sizes = Sizes(dim=6)


def test_every_kind_of_field_is_read() -> None:
    words = "--rates 0.5 -2 --user -1 place --json --mode fast --name=a-b --no-quiet --sizes.hidden 3 1".split()
    sizes = Sizes(dim=6, hidden=(3, 1))
    assert parse(Work, words, "work") == Work(
        folder=Path("place"), user=-1, rates=(0.5, -2.0), json=True, mode="fast", name="a-b", quiet=False, sizes=sizes
    )


def test_what_is_left_out_has_its_default() -> None:
    assert parse(Work, ["--user", "3"], "work") == Work(user=3)


@pytest.mark.parametrize("words", ["--user 1 place", "place --user 1"])
def test_a_field_without_a_name_may_stand_before_or_behind_options(words: str) -> None:
    assert parse(Work, words.split(), "work").folder == Path("place")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "Missing from work: --user INT; see work --help"),
        ("--user", "--user: expected one argument; see work --help"),
        ("--user one", "--user: 'one' is not a whole number; see work --help"),
        ("--user 1 --mode slow", "--mode: invalid choice: 'slow' (choose from 'fast', 'exact'); see work --help"),
        ("--user 1 --rates high", "--rates: 'high' is not a number; see work --help"),
        ("--user 1 --sizes.hidden 3", "--sizes.hidden: expected 2 arguments; see work --help"),
        (
            "--user 1 --size.dim=3",
            "there is no option --size.dim; did you mean --sizes.dim or --sizes.hidden?; see work --help",
        ),
        ("--user 1 --zzz 3", "there is no option --zzz; see work --help"),
        ("--user 1 --mod fast", "there is no option --mod; did you mean --mode?; see work --help"),
        ("--user 1 one two", "nothing is expected where 'two' stands; see work --help"),
        ("--user 1 --json=yes", "--json: ignored explicit argument 'yes'; see work --help"),
        ("--user 1 --sizes.dim 3", "dim (3) must be even"),
    ],
)
def test_a_mistake_names_the_option_and_the_remedy(words: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        parse(Work, words.split(), "work")


def test_helps_are_the_strings_below_the_fields_of_the_class_and_those_it_extends() -> None:
    made = make_dataclass("Made", [("more", Sizes, field(default=Sizes()))], bases=(Work,), frozen=True, kw_only=True)
    told = {option.name: option.text for option in options_of(made)}
    assert told["--json"] == "JSON."
    assert told["--user"] == "Id of the user. (required)"
    assert told["--mode"] == "Way of working. (default: exact)"
    assert told["--no-quiet"] == "Silence."
    assert told["--sizes.dim"] == "Width of vectors. (default: 6)"
    assert told["--more.hidden"] == "Units of both layers. (default: 4 2)"


def test_help_is_printed_at_any_place_and_ends_without_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse(Work, ["place", "--rates", "1", "--help"], "recserve work")
    printed = capsys.readouterr().out
    assert printed.startswith("usage: recserve work FOLDER [options]\n\nWork on a folder.\n")
    assert "Rates at 100 %." in printed


def test_a_type_that_no_option_can_hold_is_refused() -> None:
    made: Any = make_dataclass("Odd", [("table", dict[str, int], field(default_factory=dict))])
    with pytest.raises(TypeError, match="table: no option can hold"):
        options_of(made)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Of files."""

    source: Positional[Path]
    out: Path | None = None
    kept: Path = Path("kept/here")
    name: str = "kept"


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("in", Named("SOURCE", Path("in"))),
        ("in/model/config.pbtxt", Named("SOURCE", Path("in"))),
        ("kept", Named("--kept", Path("kept/here"))),
        ("inner", None),
    ],
)
def test_the_option_that_named_a_path_is_found(path: str, named: Named | None) -> None:
    assert naming(Places(source=Path("in")), Path(path)) == named


def test_of_two_options_the_nearer_one_is_found() -> None:
    places = Places(source=Path("data"), out=Path("data/out"))
    assert naming(places, Path("data/out/x.png")) == Named("--out", Path("data/out"))
    assert naming(places, Path("data/x.png")) == Named("SOURCE", Path("data"))
    assert naming(places, Path("data")) == Named("SOURCE", Path("data"))

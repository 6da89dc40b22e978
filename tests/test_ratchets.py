"""What must not grow back: names of papers in shared code, long files, systems that nobody registered.

`ratchets.json` has what there still is of each; a count may only fall, and then its entry is to be lowered.
"""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from training.registry import SYSTEMS
from training.system import System

ROOT = Path(__file__).parents[1]
COMMITTED = json.loads((Path(__file__).parent / "ratchets.json").read_text())
MOST_LINES, MOST_LINES_OF_A_TASK = 300, 250
OWN_PLACES = ("training/systems/", "training/baselines/", "recserve/studies/", "tests/", "kernels/")
"""Where a paper may be named: in its own folder, in the experiments on it, and in tests. kernels is by operation; it
names papers only as the source of an equation, until that stands in the README of each kernel alone."""
REGISTRIES = ("training/registry.py", "recserve/registry.py")
"""They list what there is by name."""
COMMON = frozenset({"fm", "mlp", "din", "ease", "popularity", "two_tower"})
"""Names of systems that are words of the trade too, or of English."""
ANY_CASE = (*sorted({*SYSTEMS} - COMMON), "rq-vae")
"""Words that mean nothing else."""
AS_WRITTEN = ("DIN", "CORP", "PARS", "LETTER")


def pattern(words: tuple[str, ...], flags: int = 0) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, words))})(?![A-Za-z0-9])", flags)


PATTERNS = pattern(ANY_CASE, re.IGNORECASE), pattern(AS_WRITTEN)


def python_files() -> Iterator[tuple[str, str]]:
    """Path and text of each file of the repository."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.split():
        if (ROOT / name).is_file():
            yield name, (ROOT / name).read_text()


def named(text: str) -> int:
    return sum(len(found.findall(text)) for found in PATTERNS)


def compare(what: str, found: dict[str, int], remedy: str) -> None:
    committed = COMMITTED[what]
    more = {name: count for name, count in found.items() if count > committed.get(name, 0)}
    assert not more, f"{remedy}: {more}"
    fewer = {name: found.get(name, 0) for name, count in committed.items() if found.get(name, 0) < count}
    assert not fewer, f"well done; lower these entries of tests/ratchets.json under '{what}': {fewer}"


def test_shared_code_names_no_paper_and_no_system() -> None:
    counts = {name: named(text) for name, text in python_files() if not name.startswith((*OWN_PLACES, *REGISTRIES))}
    compare("papers", {name: count for name, count in counts.items() if count}, "say what it does, not whose it is")


def test_no_file_is_longer_than_300_lines() -> None:
    lengths = {name: len(text.splitlines()) for name, text in python_files()}
    long = {name: length for name, length in lengths.items() if length > MOST_LINES}
    compare("lines", long, f"cut it in two, at most {MOST_LINES} lines each")


def test_no_task_is_longer_than_250_lines() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "training" / "tasks").glob("*.py")}
    tasks = {name: length for name, length in lengths.items() if not name.endswith("_served.py")}
    assert {name: length for name, length in tasks.items() if length > MOST_LINES_OF_A_TASK} == {}
    assert "click.py" in tasks


@pytest.mark.parametrize("name", ["training/system.py", "training/interactions.py", "training/data/click.py"])
def test_contracts_say_what_they_take_and_give(name: str) -> None:
    tree = ast.parse((ROOT / name).read_text())
    used = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute)]
    imported = [one for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for one in node.names]
    assert not {"Any", "typing.Any"} & {*used}
    assert "Any" not in {one.name for one in imported}


def papers() -> list[str]:
    """Modules that have a system of their own."""
    baselines = [f"training.baselines.{path.stem}" for path in (ROOT / "training" / "baselines").glob("[!_]*.py")]
    return [
        *baselines,
        *(f"training.systems.{path.parent.name}" for path in ROOT.glob("training/systems/*/__init__.py")),
    ]


@pytest.mark.parametrize("name", papers())
def test_every_paper_s_file_is_in_the_registry(name: str) -> None:
    systems = [value for value in vars(import_module(name)).values() if isinstance(value, System)]
    assert systems, f"{name} exports no system"
    for one in systems:
        assert SYSTEMS.get(one.name) is one, f"{one.name} of {name} is not in training.registry.SYSTEMS"


def test_every_system_is_registered_under_its_name() -> None:
    assert all(name == one.name for name, one in SYSTEMS.items())


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("an LREA, lrea_ranker and 'Lrea'; REG4Rec's", 4),
        ("ideal, matter, deal, tigers, DINner, corp, letter, pars", 0),
        ("DIN and din, MLP; LETTER's ids; RQ-VAE", 3),
        ("sasrec.SYSTEM, matt-fm, mean_pooling", 3),
    ],
)
def test_a_name_is_a_whole_word(text: str, count: int) -> None:
    assert named(text) == count

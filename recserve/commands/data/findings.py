"""What a folder of own tables is good for, for people and for programs: problems, warnings, tasks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from training.data.fetch import ORIGINS
from training.data.folder.build import Inspected
from training.data.folder.problems import SCHEMA_FILE, Problem
from training.datasets import DATASETS
from training.interactions import Interactions
from training.needs import Need, lacking
from training.registry import SYSTEMS, TASKS

_SHOWN = 30
"""Problems of a folder that are printed; --json has all."""


def show_findings(console: Console, found: Inspected) -> None:
    """Errors, warnings, and for each task whether it can use the set."""
    _lines(console, "[red]error:[/]", found.problems.errors)
    _lines(console, "[yellow]warning:[/]", found.problems.warnings)
    if any(problem.row for problem in found.problems.found):
        console.print("Rows count from 1, the header of a CSV file aside.")
    if found.interactions is None or found.problems.errors:
        return
    data = found.interactions
    size = f"{len(data.events):,} events, {len(data.users) - 1:,} users, {len(data.items) - 1:,} items"
    console.print(f"[bold]{data.name}[/]: {size}, no errors", highlight=False)
    for task, lacks in lacks_of(data).items():
        state = "can use it" if not lacks else f"lacks {_needs(lacks)}"
        console.print(f"{task:12} {escape(state)}", highlight=False, soft_wrap=True)
    for name, lacks in lacks_of_systems(data).items():
        console.print(f"{name:12} lacks {escape(_needs(lacks))}", highlight=False, soft_wrap=True)


def as_json(found: Inspected) -> dict[str, Any]:
    """The same as JSON values."""
    data = found.interactions
    return {
        "name": data.name if data else None,
        "errors": [_fields(problem) for problem in found.problems.errors],
        "warnings": [_fields(problem) for problem in found.problems.warnings],
        "tasks": None if data is None else _tasks(lacks_of(data)),
        "systems": None if data is None else _tasks(lacks_of_systems(data)),
    }


def refuse_built_in(name: str, folder: Path) -> None:
    """Raises ValueError where a folder has the name of a data set that comes with recserve."""
    if name in DATASETS or name in ORIGINS:
        raise ValueError(f"'{name}' is a built-in data set; choose another name in {folder / SCHEMA_FILE}")


def lacks_of(data: Interactions) -> dict[str, list[Need]]:
    """What each task lacks, by its name; nothing where it can use the data set."""
    return {task.name: lacking(data, task.needs) for task in TASKS}


def lacks_of_systems(data: Interactions) -> dict[str, list[Need]]:
    """What each system lacks that needs more than its task, by its name; those that lack nothing are left out."""
    lacks = {one.name: lacking(data, one.needs) for one in SYSTEMS.values()}
    return {name: needs for name, needs in lacks.items() if needs}


def _lines(console: Console, mark: str, problems: Sequence[Problem]) -> None:
    for problem in problems[:_SHOWN]:
        console.print(f"{mark} {escape(str(problem))}", highlight=False, soft_wrap=True)
    if len(problems) > _SHOWN:
        console.print(f"{mark} and {len(problems) - _SHOWN} more", highlight=False)


def _needs(lacks: Sequence[Need]) -> str:
    return "; ".join(f"{one.what}: add {one.remedy}" for one in lacks)


def _fields(problem: Problem) -> dict[str, Any]:
    return {"line": str(problem), **problem._asdict()}


def _tasks(lacks: Mapping[str, Sequence[Need]]) -> dict[str, Any]:
    """Of tasks or systems, by their names."""
    return {name: {"can_use": not all_, "lacks": [one.what for one in all_]} for name, all_ in lacks.items()}

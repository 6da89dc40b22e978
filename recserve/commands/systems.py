"""`recserve systems`: what can be trained and served, and what it reaches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from loadtest.published import table as lines_of
from recserve import results
from recserve.commands.command import Command, show, table
from recserve.results import Result
from training.registry import SYSTEMS, TASKS
from training.system import Column, System, Task

OWN = "its own figures"


class Entry(NamedTuple):
    """One row of a task's table: a system, with one of its published results, or none."""

    system: System
    result: Result | None

    @property
    def name(self) -> str:
        """<system>[-variant]."""
        return self.result.name if self.result else self.system.name

    @property
    def dataset(self) -> str | None:
        """On which it was measured."""
        return self.result.dataset if self.result else None


@dataclass(frozen=True, kw_only=True)
class Systems(Command):
    """List all systems with their published results (mean and standard deviation over seeds)."""

    markdown: bool = False
    """Tables in GitHub's form, as docs/results.md has them."""

    def run(self) -> int:
        if self.markdown:
            self.console.out(markdown(), highlight=False)
        elif not self.json:
            for listing in [listing for task in TASKS for listing in listings(task)]:
                show(self.console, table(listing.title, listing.head, [_plain(row) for row in listing.rows]))
        self.emit([facts(entry) for task in TASKS for entry in entries(task)])
        return 0


class Listing(NamedTuple):
    """What was measured on one data set of a task; the last of a task holds the systems that were not measured."""

    title: str
    head: list[str]
    rows: list[list[str]]


def entries(task: Task) -> list[Entry]:
    """Each system of a task with each of its published results, and alone where it has none."""
    own = [system for system in SYSTEMS.values() if system.task is task]
    return [Entry(system, result) for system in own for result in results.of_system(system) or [None]]


def listings(task: Task) -> list[Listing]:
    """A table for each data set, in order of name."""
    found = entries(task)
    datasets = sorted({entry.result.dataset for entry in found if entry.result})
    measured = [_listing(task, dataset, [one for one in found if one.dataset == dataset]) for dataset in datasets]
    others = [[entry.name, _what(entry.system)] for entry in found if entry.result is None]
    return [*measured, *([Listing(f"{task.title}, not measured", ["system", "what"], others)] if others else [])]


def columns(task: Task, measured: Sequence[Entry]) -> tuple[Column, ...]:
    """The task's, and those of its further ones that some of these results has."""
    held = {metric for entry in measured if entry.result for metric in entry.result.test}
    return *task.columns, *(column for column in task.further if column.metric in held)


def _listing(task: Task, dataset: str, measured: Sequence[Entry]) -> Listing:
    shown = columns(task, measured)
    rows = [row(entry, shown) for entry in measured]
    head = ["system", "what", "seeds", *(column.title for column in shown), OWN, "against its baseline"]
    kept = [place for place, title in enumerate(head) if title != OWN or any(cells[place] for cells in rows)]
    return Listing(
        f"{task.title}, {dataset}",
        [head[place] for place in kept],
        [[cells[place] for place in kept] for cells in rows],
    )


def facts(entry: Entry) -> dict[str, object]:
    """What a line says, for programs; `test` is {metric: {mean, std}}, empty where nothing was recorded."""
    system, result = entry
    return {
        "system": system.name,
        "variant": result.variant if result else "",
        "title": system.title,
        "task": system.task.name,
        "paper": system.paper,
        "provenance": system.provenance,
        "dataset": result.dataset if result else None,
        "seeds": result.seeds if result else [],
        "test": result.test if result else {},
        "baseline": _baseline(entry),
    }


def row(entry: Entry, shown: Sequence[Column]) -> list[str]:
    """One line of the table: name, what, seeds, these figures, those that only this system has, and the margin."""
    system, result = entry
    assert result is not None
    own = [column for column in system.columns if column.metric in result.test]
    return [
        entry.name,
        _what(system),
        str(len(result.seeds)),
        *(results.cell(result.test.get(column.metric)) for column in shown),
        ", ".join(f"{column.title} {results.cell(result.test.get(column.metric))}" for column in own),
        _margin(entry),
    ]


def _what(system: System) -> str:
    return f"[{system.title}]({system.paper})" if system.paper else system.title


def _plain(cells: list[str]) -> list[str]:
    """Without the link."""
    return [cell[1:].split("](")[0] if cell.startswith("[") else cell for cell in cells]


def _baseline(entry: Entry) -> str | None:
    system, result = entry
    config = system.config(**_known(result)) if result else system.config()
    return system.baseline_of(config)


def _known(result: Result) -> dict[str, object]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in result.config.items()}


def _margin(entry: Entry) -> str:
    baseline, own = _baseline(entry), entry.result
    if baseline is None or own is None:
        return ""
    other = results.read(own.task, own.dataset, baseline)
    if other is None:
        return f"{baseline}: not measured"
    gains = ", ".join(
        f"{own.test[column.metric]['mean'] - other.test[column.metric]['mean']:+.4f} {column.title}"
        for column in entry.system.task.columns
        if column.judges and {column.metric} <= own.test.keys() & other.test.keys()
    )
    return gains and f"{gains} over {baseline}"


def markdown() -> str:
    """A GitHub table for each data set of each task, and below what each system has from its source."""
    return "\n\n".join([*(_markdown(listing) for task in TASKS for listing in listings(task)), _provenance()])


def _markdown(listing: Listing) -> str:
    return f"**{listing.title}**\n\n" + "\n".join(lines_of(listing.head, listing.rows))


def _provenance() -> str:
    names: dict[str, list[str]] = {}
    for system in SYSTEMS.values():
        names.setdefault(system.provenance, []).append(system.name)
    return "\n".join(f"- {', '.join(same)}: {provenance}." for provenance, same in names.items())

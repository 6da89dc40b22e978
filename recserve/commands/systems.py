"""`recserve systems`: what can be trained and served, and what it reaches."""

from dataclasses import dataclass
from typing import NamedTuple

from recserve import results
from recserve.commands.command import Command, show, table
from recserve.results import Result
from training.registry import SYSTEMS, TASKS
from training.system import Column, System, Task

HEAD = ["system", "what", "data"]


class Entry(NamedTuple):
    """One row of a task's table: a system, with one of its published results, or none."""

    system: System
    result: Result | None

    @property
    def name(self) -> str:
        """<system>[-variant]."""
        return self.result.name if self.result else self.system.name


@dataclass(frozen=True, kw_only=True)
class Systems(Command):
    """List all systems with their published results (mean and standard deviation over seeds)."""

    markdown: bool = False
    """Tables in GitHub's form, as docs/results.md has them."""

    def run(self) -> int:
        if self.markdown:
            self.console.out(markdown(), highlight=False)
        elif not self.json:
            for task in TASKS:
                show(self.console, table(task.title, head(task), [_plain(entry) for entry in entries(task)]))
        self.emit([facts(entry) for task in TASKS for entry in entries(task)])
        return 0


def entries(task: Task) -> list[Entry]:
    """Each system of a task with each of its published results, and alone where it has none."""
    own = [system for system in SYSTEMS.values() if system.task is task]
    return [Entry(system, result) for system in own for result in results.of_system(system) or [None]]


def columns(task: Task) -> tuple[Column, ...]:
    """The task's, those that some result has among the task's further ones, then those that some system of it has of
    its own."""
    own = (column for system in SYSTEMS.values() if system.task is task for column in system.columns)
    held = {metric for entry in entries(task) if entry.result for metric in entry.result.test}
    return *task.columns, *(column for column in task.further if column.metric in held), *dict.fromkeys(own)


def head(task: Task) -> list[str]:
    """Titles of the task's table."""
    return [*HEAD, *(column.title for column in columns(task)), "against its baseline"]


def facts(entry: Entry) -> dict[str, object]:
    """What `row` says, for programs; `test` is {metric: {mean, std}}, empty where nothing was recorded."""
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


def row(entry: Entry) -> list[str]:
    """One line of the table."""
    system, result = entry
    test = result.test if result else {}

    def mean_and_spread(name: str) -> str:
        return f"{test[name]['mean']:.4f} ± {test[name]['std']:.4f}" if name in test else ""

    return [
        entry.name,
        f"[{system.title}]({system.paper})" if system.paper else system.title,
        f"{result.dataset}, {len(result.seeds)} seeds" if result else "not measured",
        *(mean_and_spread(column.metric) for column in columns(system.task)),
        _margin(entry),
    ]


def _plain(entry: Entry) -> list[str]:
    name, _, *rest = row(entry)
    return [name, entry.system.title, *rest]


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
    """A GitHub table for each task, and below what each system has from its source."""
    return "\n\n".join([*(_markdown(task) for task in TASKS), _provenance()])


def _markdown(task: Task) -> str:
    lines = [head(task), ["---"] * len(head(task)), *(row(entry) for entry in entries(task))]
    return f"**{task.title}**\n\n" + "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _provenance() -> str:
    names: dict[str, list[str]] = {}
    for system in SYSTEMS.values():
        names.setdefault(system.provenance, []).append(system.name)
    return "\n".join(f"- {', '.join(same)}: {provenance}." for provenance, same in names.items())

"""`recserve data describe`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from recserve.commands.command import Command, show, table
from recserve.commands.data.findings import lacks_of
from recserve.options import Positional
from recserve.pictures import check_picture
from training import datasets
from training.data.overview import Overview, overview
from training.interactions import Interactions
from training.registry import TASKS

_SMALL = 0.001
"""Share below which a figure would read as none."""


@dataclass(frozen=True, kw_only=True)
class Describe(Command):
    """Describe a data set: rows, users, items, time span, histories, test parts of the tasks, what is new, fields."""

    data: Positional[str]
    """Name of a data set, or a folder of own tables."""
    out: Path | None = None
    """Picture to draw; .png, .svg or .pdf."""
    cache: Path | None = None
    """Folder of the data sets; $RECSERVE_CACHE/data or ~/.cache/recserve/data by default."""

    def __post_init__(self) -> None:
        if self.out:
            check_picture(self.out)

    def run(self) -> int:
        report = Console(stderr=True)
        interactions = datasets.source(self.data).read(
            self.cache, lambda line: report.print(line, highlight=False, markup=False, soft_wrap=True)
        )
        found = overview(interactions)
        tested = _tested(interactions)
        _show(self.console, found, tested)
        if self.out:
            from recserve.data_picture import draw

            draw(interactions, found, self.out)
            self.console.print(f"picture: {self.out}", highlight=False)
        self.emit({**asdict(found), "tested": tested})
        return 0


def _tested(data: Interactions) -> dict[str, str]:
    """What the test part has of each task that can use the set, by the task's name."""
    lacks = lacks_of(data)
    return {task.name: task.tested(data) for task in TASKS if not lacks[task.name]}


def _show(console: Console, found: Overview, tested: Mapping[str, str]) -> None:
    drawn = Table.grid(padding=(0, 2))
    for name, value in [*_figures(found), *_parts(found, tested)]:
        drawn.add_row(name, value)
    console.print(f"[bold]{found.name}[/], {found.licence}", highlight=False)
    console.print(drawn)
    rows = [
        [one.name, one.role, one.kind, " ".join(one.uses), f"{one.size:,}" if one.size else "", _share(one.missing)]
        for one in found.fields
    ]
    show(console, table("fields", ["name", "of", "kind", "uses", "values", "missing"], rows))


def _figures(found: Overview) -> list[tuple[str, str]]:
    return [
        ("events", f"{found.events:,}"),
        ("users", f"{found.users:,}, {found.users_with_events:,} of them with events"),
        ("items", f"{found.items:,}, {found.items_with_events:,} of them with events"),
        ("time", _span(found)),
        ("positives", "all (no label)" if found.positives is None else f"{found.positives:.1%} of the events"),
        ("history", ", ".join(f"{name} {length:,}" for name, length in found.histories.items()) + " events"),
    ]


def _parts(found: Overview, tested: Mapping[str, str]) -> list[tuple[str, str]]:
    """The test part of each task; of the last 10 % in time also what is new, whosesoever they are."""
    lines: list[tuple[str, str]] = []
    if one := found.test:
        share = "" if one.positives is None else f", {one.positives:.1%} positives"
        said = tested[one.task] if one.task else f"{one.events:,} events"
        lines += [
            (f"{one.task}: test part" if one.task else "last 10 % in time", said + share),
            ("  new users", f"{one.cold_users:.1%}, in {one.cold_user_events:.1%} of these events"),
            ("  new items", f"{one.cold_items:.1%}, in {one.cold_item_events:.1%} of these events"),
        ]
    told = found.test and found.test.task
    return lines + [(f"{task}: test part", said) for task, said in tested.items() if task != told]


def _span(found: Overview) -> str:
    if found.first is None or found.last is None:
        return "none"
    first, last = (f"{datetime.fromtimestamp(one, UTC):%Y-%m-%d %H:%M}" for one in (found.first, found.last))
    return f"{first} to {last} UTC, {(found.last - found.first) / 86_400:,.1f} days"


def _share(missing: float | None) -> str:
    if not missing:
        return ""
    return f"{missing:.1%}" if missing >= _SMALL else f"< {_SMALL:.1%}"

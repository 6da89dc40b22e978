"""The quality gate of a release: its test metrics against those of another, both on the same test part."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from export.artifacts import Measured
from recserve import runs
from serving import manifest
from training import datasets
from training.fingerprint import Fingerprint
from training.registry import system
from training.system import Column


class Figure(NamedTuple):
    """One metric of both."""

    title: str
    metric: str
    direction: Literal["max", "min"]
    own: float
    other: float

    @property
    def ok(self) -> bool:
        """Whether the release is not worse; equal is not."""
        return self.own >= self.other if self.direction == "max" else self.own <= self.other

    def __str__(self) -> str:
        return f"{self.title} {self.own:.4f} against {self.other:.4f}"


def recorded(repository: Path, name: str, version: int) -> list[Measured]:
    """What a published release says of the runs that it is made of. Raises ValueError where it says nothing."""
    said = manifest.read(repository / name / str(version)).get("measured")
    if not said:
        raise ValueError(
            f"{name} {version} has no recorded metrics: it is of no run, or was published before they were recorded; "
            "name another version, or leave --not-worse-than out"
        )
    return [Measured(**one) for one in said]


def compare(
    offered: Sequence[Measured], other: Sequence[Measured], by: str | None, report: Callable[[str], None]
) -> list[Figure]:
    """The figures of each run of a release, and of the run of the same system in the other release.

    Args:
        offered: the release that is to be served.
        other: the one that it is compared with; where it was measured on another test part, it is measured again, on
            that of the offered.
        by: metric; those that judge the task by default.
        report: told of what is measured again.

    Raises:
        ValueError: a metric that there is not, other systems or data sets, and what cannot be measured again.
    """
    figures = []
    for own in offered:
        found = next((one for one in other if one.system == own.system), None)
        if found is None:
            raise ValueError(f"the other release has no run of {own.system}; leave --not-worse-than out")
        if found.dataset != own.dataset:
            raise ValueError(
                f"{own.run} was measured on {own.dataset}, {found.run} on {found.dataset}: their figures do not "
                "compare; leave --not-worse-than out"
            )
        theirs = found.test if found.data == own.data else _again(found, own, report)
        figures += [_figure(column, own, theirs) for column in _columns(own, by)]
    if not figures:
        raise ValueError(f"--by {by}: {_no_column(offered)}")
    return figures


def _again(other: Measured, own: Measured, report: Callable[[str], None]) -> dict[str, float]:
    """The other run on the test part of the offered one."""
    interactions = datasets.read(own.dataset, before=own.until)
    if changed := Fingerprint.from_json(dict(own.data)).changes(Fingerprint.of(interactions)):
        raise ValueError(
            f"{own.run} and {other.run} were measured on other test parts of {own.dataset}, and that of the first is "
            f"not here any more ({changed}): train again"
        )
    report(f"{other.run} was measured on another test part; it is measured again on that of {own.run}")
    try:
        return runs.measured_on(Path(other.run), interactions)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{other.run} was measured on another test part of {own.dataset} than {own.run}, and cannot be measured "
            f"again: {error}; leave --not-worse-than out"
        ) from error


def _columns(own: Measured, by: str | None) -> list[Column]:
    """Those with a direction that are asked for, of a run that may have none of that name."""
    chosen = system(own.system)
    columns = [one for one in (*chosen.task.columns, *chosen.columns) if one.direction is not None]
    return [one for one in columns if (one.judges if by is None else one.metric == by)]


def _figure(column: Column, own: Measured, theirs: Mapping[str, float]) -> Figure:
    assert column.direction is not None
    for run, test in ((own.run, own.test), ("the other release", theirs)):
        if column.metric not in test:
            there = ", ".join(sorted(test))
            raise ValueError(f"--by {column.metric}: {run} has no such metric on its test part; it has {there}")
    return Figure(column.title, column.metric, column.direction, own.test[column.metric], theirs[column.metric])


def _no_column(offered: Sequence[Measured]) -> str:
    """What may be said."""
    known = {
        one.metric
        for own in offered
        for one in (*system(own.system).task.columns, *system(own.system).columns)
        if one.direction is not None
    }
    return f"no metric of {', '.join(own.system for own in offered)} that has a better side; there are " + ", ".join(
        sorted(known)
    )

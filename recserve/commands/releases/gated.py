"""The quality gate as options of a command."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from export.artifacts import Measured
from recserve import gate
from recserve.commands.command import Command, show, table
from serving import releases

SERVED = "served"


@dataclass(frozen=True, kw_only=True)
class Gated(Command):
    """A release that another may be too good for."""

    repository: Path
    """The model repository."""
    not_worse_than: str | None = None
    """Release of the same name that this one must not be worse than, else it is refused: its version, or "served" for
    that which is served. Where that was measured on another test part, its run is measured again on this one's."""
    by: str | None = None
    """Metric that --not-worse-than compares, such as gauc; those that judge the task by default."""

    def __post_init__(self) -> None:
        if self.by is not None and self.not_worse_than is None:
            raise ValueError(f"--by {self.by}: than what? Say --not-worse-than served, or a version")
        if self.not_worse_than not in (None, SERVED) and not str(self.not_worse_than).isdecimal():
            raise ValueError(f"--not-worse-than {self.not_worse_than}: say served, or the number of a version")

    def passes(self, name: str, offered: Sequence[Measured], what: str) -> bool:
        """Whether there is no gate, or it lets the release `what` pass; prints the figures. Raises ValueError where
        there is nothing to compare."""
        if self.not_worse_than is None:
            return True
        if not offered:
            raise ValueError(
                f"{what} is of no run, so it has no metrics; leave --not-worse-than out, and compare figures of your "
                "own by recserve gate"
            )
        served = self.not_worse_than == SERVED
        version = releases.standing(self.repository, name).served if served else int(self.not_worse_than)
        other = gate.recorded(self.repository, name, version)
        figures = gate.compare(offered, other, self.by, self.say)
        ok = all(figure.ok for figure in figures)
        rows = [[one.title, one.own, one.other, "" if one.ok else "worse"] for one in figures]
        show(self.console, table(f"{what} against {name} {version}", ["metric", "offered", "other", ""], rows))
        if not ok:
            worse = ", ".join(str(one) for one in figures if not one.ok)
            self.say(f"refused: {what} is worse than {name} {version}: {worse}; nothing was changed")
            self.emit(
                {"ok": False, "against": version, "figures": [{**one._asdict(), "ok": one.ok} for one in figures]}
            )
        return ok

    def say(self, line: str) -> None:
        """One line for people."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

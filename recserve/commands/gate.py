"""`recserve gate`: a team's own figures against those of a baseline."""

from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from loadtest.gate import parse_tolerance
from recserve import quality
from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.quality import Figure


@dataclass(frozen=True, kw_only=True)
class Gate(Command):
    """Compare figures of your own, numbers in a JSON file, with a baseline; exits with 1 where one is worse.

    For models of package.module:factory. Releases of runs have figures of their own: recserve releases publish
    --not-worse-than.
    """

    measured: Positional[Path]
    """File with the figures, an object of numbers or of such objects."""
    baseline: Path
    """File with the figures that were reached before; one that is missing in MEASURED fails."""
    lower: tuple[str, ...] = ()
    """Figures of which less is better, such as two_tower.log_loss; of all others more is."""
    tolerance: str = "0%"
    """Part of the baseline's figure by which one may be worse."""

    def __post_init__(self) -> None:
        parse_tolerance(self.tolerance)

    def run(self) -> int:
        baseline, measured = quality.read(self.baseline), quality.read(self.measured)
        figures = quality.compare(baseline, measured, self.lower, parse_tolerance(self.tolerance))
        rows = [[one.name, _shown(one.baseline), _shown(one.measured), one.verdict] for one in figures]
        title = f"{self.measured} against {self.baseline}, {self.tolerance}"
        show(self.console, table(title, ["figure", "baseline", "measured", ""], rows))
        failed = ", ".join(_said(one) for one in figures if not one.ok)
        if failed:
            self.console.print(f"[red]gate failed:[/] {escape(failed)}", highlight=False, soft_wrap=True)
        self.emit({"ok": not failed, "figures": [one._asdict() for one in figures]})
        return 1 if failed else 0


def _said(one: Figure) -> str:
    figures = "" if one.measured is None else f" ({_shown(one.measured)} against {_shown(one.baseline)})"
    return f"{one.name} {one.verdict}{figures}"


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"

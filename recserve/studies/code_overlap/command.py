"""`recserve study code-overlap RUN [RUN ...]`: attention of BBQRec by the codes that two items share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.results import named
from recserve.runs import Trained, load
from recserve.studies.code_overlap.picture import draw
from recserve.studies.code_overlap.points import Point, points
from serving.environment import circumstances
from training.checkpoint import write_json
from training.data.sequences import SequenceData
from training.systems.bbqrec import BBQRec


@dataclass(frozen=True, kw_only=True)
class CodeOverlap(Command):
    """Draw how much of BBQRec's attention goes to items that share codes, and what its tables add."""

    runs: Positional[tuple[Path, ...]]
    """Folders of finished runs of bbqrec, as `recserve train` prints them: with true and with permuted codes."""
    output: Path = STUDY_RESULTS / "bbqrec-overlap.json"
    """File of the result; the picture lies beside it, as .svg."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if not self.runs:
            raise ValueError("give at least one folder of a finished run of bbqrec")

    def run(self) -> int:
        found = [load(folder) for folder in self.runs]
        dataset, *others = {one.dataset for one in found}
        if others:
            raise ValueError(f"the runs are of different data sets {sorted({dataset, *others})}; show those of one")
        measured = [point for one in found for point in of_run(one)]
        result = _result(dataset, self.runs, measured)
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(measured, f"BBQRec on {dataset}: shared codes and attention", picture)
        show(
            self.console,
            table(
                f"attention on {dataset}",
                list(Point._fields),
                [["" if one is None else one for one in point] for point in measured],
            ),
        )
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0


def of_run(trained: Trained) -> list[Point]:
    """Raises ValueError for a run of another system."""
    if not isinstance(trained.module, BBQRec) or not isinstance(trained.data, SequenceData):
        raise ValueError(f"{trained.folder} is a run of '{trained.system.name}'; give runs of bbqrec")
    name = named(trained.system.name, trained.system.variant(trained.config))
    return points(name, trained.module, trained.data)


def _result(dataset: str, runs: tuple[Path, ...], measured: list[Point]) -> dict[str, Any]:
    """What was drawn, and of which runs."""
    return {
        "scenario": "bbqrec-overlap",
        "kind": "overlap",
        "run": [f"{folder.resolve().parent.name}/{folder.resolve().name}" for folder in runs],
        "dataset": dataset,
        **circumstances(),
        "points": [point._asdict() for point in measured],
    }

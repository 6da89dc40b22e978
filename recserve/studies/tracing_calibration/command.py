"""`recserve study tracing-calibration`: how far probabilities of tracing models can be believed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve.commands.command import Command, show, table
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.results import cell
from recserve.studies.tracing_calibration.picture import draw
from recserve.studies.tracing_calibration.points import Curve, curves
from serving.environment import circumstances
from training.checkpoint import write_json
from training.tasks.tracing import TRACING


@dataclass(frozen=True, kw_only=True)
class TracingCalibration(Command):
    """Draw from recorded results of tracing models how often students were right by what was predicted."""

    dataset: str = TRACING.default
    """Data set of the results."""
    systems: tuple[str, ...] = ()
    """Names, <system>[-variant], of those that are drawn; all that were recorded by default."""
    output: Path = STUDY_RESULTS / "tracing-calibration.json"
    """File of the result; the picture lies beside it, as .svg."""

    def __post_init__(self) -> None:
        check_output(self.output)

    def run(self) -> int:
        found = curves(self.dataset, self.systems)
        result = _result(self.dataset, found)
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(found, self.dataset, picture)
        rows = [[one.result.name, cell(one.error), *_ends(one)] for one in found]
        columns = ["system", "calibration error", "lowest tenth", "highest tenth"]
        show(self.console, table(f"predicted and right, {self.dataset}", columns, rows))
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0


def _ends(curve: Curve) -> list[str]:
    predicted, right = curve.predicted.mean(axis=0), curve.right.mean(axis=0)
    return [f"{predicted[end]:.3f}, {right[end]:.3f} right" for end in (0, -1)]


def _result(dataset: str, found: Sequence[Curve]) -> dict[str, Any]:
    """What was drawn, and the runs that it was recorded from."""
    return {
        "scenario": "tracing-calibration",
        "kind": "calibration",
        "run": [run for one in found for run in one.result.runs],
        "dataset": dataset,
        **circumstances(),
        "systems": [
            {
                "system": one.result.name,
                "calibration error": one.error,
                "predicted": one.predicted.round(4).tolist(),
                "right": one.right.round(4).tolist(),
            }
            for one in found
        ],
    }

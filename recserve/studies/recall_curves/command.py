"""`recserve study recall-curves`: what each loss of CROLoss's family finds, drawn from recorded results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve.commands.command import Command, show, table
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.recall_curves.picture import draw
from recserve.studies.recall_curves.points import DATASETS, LOSSES, TARGETS, Recorded, recorded
from serving.environment import circumstances
from training.checkpoint import write_json


@dataclass(frozen=True, kw_only=True)
class RecallCurves(Command):
    """Draw recorded Recall@N of CROLoss's losses and of two towers by N, over the softmax's; trains nothing."""

    dataset: str = DATASETS[0]
    """Data set of the results."""
    output: Path = STUDY_RESULTS / "croloss-recall.json"
    """File of the result; the picture lies beside it, as .svg."""

    def __post_init__(self) -> None:
        check_output(self.output)

    def run(self) -> int:
        found, reference = recorded(self.dataset), next(iter(LOSSES))
        if reference not in found:
            raise ValueError(
                f"the {reference} was not recorded on {self.dataset}; recserve train croloss --config.kernel exp "
                f"--dataset {self.dataset} --seeds 3 --record does"
            )
        result = _result(self.dataset, found)
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(found, reference, self.dataset, picture)
        rows = [[loss, *(one.test[f"recall{target}"]["mean"] for target in TARGETS)] for loss, one in found.items()]
        columns = ["Recall", *(f"@{target}" for target in TARGETS)]
        show(self.console, table(f"CROLoss on {self.dataset}", columns, rows))
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0


def _result(dataset: str, found: Recorded) -> dict[str, Any]:
    """What was drawn, and the runs that it was recorded from."""
    metrics = [f"recall{target}" for target in TARGETS]
    points = [
        {
            "loss": loss,
            "test": {metric: one.test[metric] for metric in metrics},
            "by_seed": {metric: one.by_seed[metric] for metric in metrics} if one.by_seed else None,
        }
        for loss, one in found.items()
    ]
    return {
        "scenario": "croloss-recall",
        "kind": "recall",
        "run": [run for one in found.values() for run in one.runs],
        "dataset": dataset,
        **circumstances(),
        "points": points,
    }

"""`recserve study label-share`: what pre-training is worth where few rows have labels, drawn from recorded results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve.commands.command import Command, show, table
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.results import Result
from recserve.studies.label_share.picture import draw
from recserve.studies.label_share.points import DATASETS, SHARES, recorded
from serving.environment import circumstances
from training.checkpoint import write_json


@dataclass(frozen=True, kw_only=True)
class LabelShare(Command):
    """Draw recorded results of DGenCTR and its controls against the share of rows with labels; trains nothing."""

    dataset: str = DATASETS[0]
    """Data set of the results."""
    output: Path = STUDY_RESULTS / "dgenctr-labels.json"
    """File of the result; the picture lies beside it, as .svg."""

    def __post_init__(self) -> None:
        check_output(self.output)

    def run(self) -> int:
        found = recorded(self.dataset)
        if not any(found.values()):
            raise ValueError(f"nothing of it was recorded on {self.dataset}; recserve train dgenctr --record does")
        result = _result(self.dataset, found)
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(found, self.dataset, picture)
        auc = {way: {share: one.test["auc"]["mean"] for share, one in of.items()} for way, of in found.items()}
        rows = [[way, *(of.get(share, "") for share in SHARES)] for way, of in auc.items()]
        columns = ["AUC", *(f"{share:.0%} of labels" for share in SHARES)]
        show(self.console, table(f"DGenCTR on {self.dataset}", columns, rows))
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0


def _result(dataset: str, found: dict[str, dict[float, Result]]) -> dict[str, Any]:
    """What was drawn, and the runs that it was recorded from."""
    points = [
        {"way": way, "labels": share, "auc": one.test["auc"], "by_seed": one.by_seed["auc"] if one.by_seed else None}
        for way, of in found.items()
        for share, one in of.items()
    ]
    return {
        "scenario": "dgenctr-labels",
        "kind": "labels",
        "run": [run for of in found.values() for one in of.values() for run in one.runs],
        "dataset": dataset,
        **circumstances(),
        "points": points,
    }

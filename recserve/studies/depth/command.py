"""`recserve study heterrec-depth`: what more blocks are worth, drawn from recorded results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve.commands.command import Command, show, table
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.results import Result
from recserve.studies.depth.picture import draw
from recserve.studies.depth.points import LAYERS, METRIC, commands, recorded, slope
from serving.environment import circumstances
from training.checkpoint import write_json


@dataclass(frozen=True, kw_only=True)
class Depth(Command):
    """Draw recorded results of HeterRec and of its stack over items against their blocks; trains nothing."""

    dataset: str = "hin-amazon"
    """Data set of the results."""
    output: Path = STUDY_RESULTS / "heterrec-depth.json"
    """File of the result; the picture lies beside it, as .svg."""

    def __post_init__(self) -> None:
        check_output(self.output)

    def run(self) -> int:
        found = recorded(self.dataset)
        if all(slope(of) is None for of in found.values()):
            raise ValueError(
                f"no way was recorded on {self.dataset} with more than one number of blocks; first, such as\n"
                + "\n".join(commands(self.dataset, found))
            )
        result = _result(self.dataset, found)
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(found, self.dataset, picture)
        rows = [
            [way, *(of[layers].test[METRIC]["mean"] if layers in of else "" for layers in LAYERS), slope(of)]
            for way, of in found.items()
        ]
        columns = ["NDCG@10", *(f"{layers} blocks" for layers in LAYERS), "by each doubling"]
        show(self.console, table(f"HeterRec on {self.dataset}", columns, rows))
        for missing in commands(self.dataset, found):
            self.console.print(f"not recorded: {missing}", highlight=False, soft_wrap=True)
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0


def _result(dataset: str, found: dict[str, dict[int, Result]]) -> dict[str, Any]:
    """What was drawn, and the runs that it was recorded from."""
    points = [
        {"way": way, "layers": layers, METRIC: one.test[METRIC]}
        for way, of in found.items()
        for layers, one in of.items()
    ]
    return {
        "scenario": "heterrec-depth",
        "kind": "depth",
        "run": [run for of in found.values() for one in of.values() for run in one.runs],
        "dataset": dataset,
        **circumstances(),
        "points": points,
        "slope": {way: slope(of) for way, of in found.items()},
    }

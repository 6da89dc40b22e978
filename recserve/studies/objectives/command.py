"""`recserve study csmf`: what each objective keeps and gains, stage by stage, drawn from recorded results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve.commands.command import Command, show, table
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.objectives.picture import draw
from recserve.studies.objectives.points import DATASETS, METRICS, WAYS, Course, recorded
from serving.environment import circumstances
from training.checkpoint import write_json
from training.systems.csmf.config import Way


@dataclass(frozen=True, kw_only=True)
class Csmf(Command):
    """Draw who owns weights, and recall by objective and stage beside fine-tuning without masks."""

    dataset: str = DATASETS[0]
    """Data set of the results."""
    output: Path = STUDY_RESULTS / "csmf-stages.json"
    """File of the result; the picture lies beside it, as .svg."""

    def __post_init__(self) -> None:
        check_output(self.output)

    def run(self) -> int:
        found = recorded(self.dataset, ("masks", "naive"))
        for way in ("masks", "naive"):
            if way not in found:
                option = "" if way == "masks" else f"--config.way {way} "
                made = f"recserve train csmf --dataset {self.dataset} {option}--seeds 3 --record"
                raise ValueError(f"{WAYS[way]} was not recorded on {self.dataset}; {made} does")
        result = _result(self.dataset, found)
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(found, self.dataset, picture)
        for way, course in found.items():
            rows = [
                [stage or "the end", *(course.figure("recall50", name, stage)["mean"] for name in course.objectives)]
                for stage in course.stages
            ]
            title = f"{WAYS[way]} on {self.dataset}, recall@50"
            show(self.console, table(title, ["after", *course.objectives], rows))
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0


def _result(dataset: str, found: dict[Way, Course]) -> dict[str, Any]:
    """What was drawn, and the runs that it was recorded from."""
    return {
        "scenario": "csmf-stages",
        "kind": "stages",
        "run": [run for course in found.values() for run in course.result.runs],
        "dataset": dataset,
        **circumstances(),
        "owners": found["masks"].owned,
        "points": [
            {
                "way": way,
                "stage": stage,
                "objective": name,
                **{metric: course.figure(metric, name, stage) for metric in METRICS},
            }
            for way, course in found.items()
            for stage in course.stages
            for name in course.objectives
        ],
    }

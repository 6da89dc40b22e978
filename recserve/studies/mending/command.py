"""`recserve study mending RUN`: what SGCTR costs beside its base and MATT, and what both gain on damaged rows."""

from dataclasses import dataclass
from pathlib import Path

from recserve import runs
from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.corp.command import origin
from recserve.studies.mending.bench import Plan, run
from recserve.studies.mending.damage import draw, recorded
from training.checkpoint import write_json
from training.data.click import ClickData
from training.layers.users import follows
from training.systems.sgctr import Sgctr


@dataclass(frozen=True, kw_only=True)
class Mending(Command):
    """Time a base, SGCTR and MATT around it in turn, profile SGCTR's graph, and draw recorded AUC against damage."""

    source: Positional[Path]
    """Folder of a finished run of sgctr."""
    candidates: int = 1000
    """Candidates of the request."""
    repetitions: int = 50
    """Repetitions of each timing."""
    output: Path = STUDY_RESULTS / "sgctr-mending.json"
    """File of the result; the picture lies beside it, as .svg."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if self.candidates < 1 or self.repetitions < 1:
            raise ValueError("--candidates and --repetitions must be at least 1")

    def run(self) -> int:
        trained = runs.load(self.source)
        if not isinstance(trained.module, Sgctr) or not isinstance(trained.data, ClickData):
            raise ValueError(f"{self.source} is a run of {trained.system.name}; only sgctr mends rows")
        if follows(trained.data.features.layout):
            raise ValueError(f"{trained.dataset} has fields that follow from histories; take a run of another data set")
        with self.console.status("study mending"):
            measured = run(trained.module, trained.data, Plan(candidates=self.candidates, repetitions=self.repetitions))
        early = trained.metrics["test"]["early_exit"]
        result = {"scenario": "sgctr-mending", "kind": "mending", **origin(trained), **measured, "early_exit": early}
        result["auc"], picture = recorded(trained.dataset), self.output.with_suffix(".svg")
        write_json(self.output, result)
        draw(result["auc"], trained.dataset, picture)
        rows = [["" if cell is None else cell for cell in row.values()] for row in measured["rows"]]
        title = (
            f"median CPU time of {self.candidates:,} candidates, one thread; {early:.0%} of the test rows leave early"
        )
        show(self.console, table(title, ["way", "CPU ms", "x base", "of its rows leave early"], rows))
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0

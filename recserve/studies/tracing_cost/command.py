"""`recserve study tracing-cost`: what an answer costs tracing models after short and long histories."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve.commands.command import Command, show, table
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.tracing_cost.bench import Report, answers_of, export, ratios, run
from recserve.studies.tracing_cost.picture import LABELS, draw
from serving.environment import UNTRAINED, circumstances
from training import datasets
from training.checkpoint import write_json
from training.tasks.tracing import TRACING

MODELS = ("sfkt", "dkt", "sakt", "pfa")
LENGTHS = (100, 1_000, 10_000)
BAR = 1.1
"""Most that step and ask may cost after the longest history of what they do after the shortest one."""


@dataclass(frozen=True, kw_only=True)
class TracingCost(Command):
    """Time step and ask of tracing models, and the question by all answers, after short and long histories.

    Exits with 1 where step or ask costs more than 1.1 times as much after the longest history as after the shortest.
    Writes the result, and a picture beside it (.svg).
    """

    models: tuple[str, ...] = MODELS
    """Models of `tracing` to time."""
    repository: Path | None = None
    """Folder that they were exported to; without it they are exported for this, untrained, as weights cost no time."""
    dataset: str = TRACING.default
    """Data set, whose student with most answers answers."""
    lengths: tuple[int, ...] = LENGTHS
    """Answers before; those of the student are repeated until they are so many."""
    repetitions: int = 400
    """Repetitions of each case; slow ones get as many as fit 6 seconds, at least 5."""
    output: Path = STUDY_RESULTS / "tracing-cost.json"
    """File of the result."""

    def __post_init__(self) -> None:
        if len(set(self.lengths)) < 2 or min(self.lengths) < 1 or self.repetitions < 1 or not self.models:
            raise ValueError(
                "--lengths must be two or more different ones of at least 1, --repetitions at least 1, and --models at "
                "least one"
            )
        check_output(self.output)

    def run(self) -> int:
        with self.console.status("study tracing-cost") as status, tempfile.TemporaryDirectory() as folder:
            rows = self._rows(Path(folder), status.update)
        found = ratios(rows)
        ok = all(of[way] <= BAR for of in found.values() for way in ("step", "ask"))
        result = {
            "scenario": "tracing-cost",
            "kind": "tracing-cost",
            "run": str(self.repository) if self.repository else UNTRAINED,
            **circumstances(),
            "dataset": self.dataset,
            "rows": rows,
            "longest_of_shortest": found,
            "ok": ok,
        }
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(rows, picture)
        lengths = sorted(set(self.lengths))
        cells = {(row["model"], row["way"], row["answers"]): row["cpu_ms"] for row in rows}
        shown = [
            [model, LABELS[way], *(cells[model, way, length] for length in lengths), of[way]]
            for model, of in found.items()
            for way in LABELS
        ]
        columns = ["model", "", *(f"{length:,} answers" for length in lengths), "longest of shortest"]
        show(self.console, table("median CPU ms, one thread", columns, shown))
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0 if ok else 1

    def _rows(self, folder: Path, report: Report) -> list[dict[str, Any]]:
        interactions = datasets.read(self.dataset)
        if self.repository is None:
            export(self.models, interactions, folder, report)
        answers = answers_of(interactions, max(self.lengths))
        lengths = sorted(set(self.lengths))
        return run(self.repository or folder, self.models, answers, lengths, self.repetitions, report)

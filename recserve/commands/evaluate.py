"""`recserve evaluate RUN`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recserve import runs
from recserve.commands.command import Command, show, table
from recserve.options import Positional
from training.fit import predict


@dataclass(frozen=True, kw_only=True)
class Evaluate(Command):
    """Measure a finished run again."""

    folder: Positional[Path]
    """Folder of the run, as `recserve train` printed it."""
    part: Literal["validation", "test"] = "test"
    """Part of the run's data set to measure on."""

    def run(self) -> int:
        trained = runs.load(self.folder)
        metrics = trained.system.measure(trained.module, predict, getattr(trained.data, self.part))
        title = f"{trained.system.name}: {self.part} part of {trained.data.schema.dataset}"
        drawn = trained.system.task.only_drawn
        show(self.console, table(title, ["metric", "value"], [one for one in metrics.items() if one[0] not in drawn]))
        self.emit({"run": self.folder, "part": self.part, "metrics": metrics})
        return 0

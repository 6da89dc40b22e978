"""`recserve study dmae cold` and `recserve study dmae cost`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtest import RESULTS
from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.studies.dmae import cold, cost
from serving.environment import UNTRAINED, command, hardware, versions
from training.checkpoint import write_json


def _origin() -> dict[str, Any]:
    return {
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "hardware": hardware(),
        "command": command(),
    }


@dataclass(frozen=True, kw_only=True)
class Cold(Command):
    """Measure DMAE, its controls, early fusion and DIN on items that training did not see, and without any target's id.

    On clicks that content drives, which are planted and trained here (minutes), and on finished runs.
    """

    runs: Positional[tuple[Path, ...]] = ()
    """Folders of finished runs of systems that read histories; on one data set."""
    seeds: int = 3
    """Seeds of the planted clicks, each trained with once."""
    output: Path = RESULTS / "dmae-cold.json"
    """File of the result."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"--seeds is {self.seeds}; it must be at least 1")

    def run(self) -> int:
        with self.console.status("study dmae cold") as status:
            planted = cold.means(cold.planted(range(self.seeds), status.update))
            finished = [cold.finished(folder) for folder in self.runs]
        if len({dataset for _, dataset, _ in finished}) > 1:
            raise ValueError("the runs are of several data sets; name those of one")
        result = {"scenario": "dmae-cold", "kind": "dmae-cold", "run": UNTRAINED, **_origin(), "planted": planted}
        result["runs"] = [f"{folder.resolve().parent.name}/{folder.resolve().name}" for folder in self.runs]
        if finished:
            rows, (dataset, *_), (count, *_) = zip(*finished, strict=True)
            result |= {"dataset": dataset, "cold_rows": count, "measured": cold.means(rows)}
        write_json(self.output, result)
        for title in ("planted", "measured"):
            show(self.console, table(f"AUC, {title}", ["system", *_FIGURES], _rows(result.get(title, []))))
        self.console.print(str(self.output), highlight=False, soft_wrap=True)
        self.emit(result)
        return 0


_FIGURES = ("all", "cold", "unknown", "drop")


def _rows(means: list[dict[str, Any]]) -> list[list[object]]:
    return [[one["system"], *(one[figure]["mean"] for figure in _FIGURES)] for one in means]


@dataclass(frozen=True, kw_only=True)
class Cost(Command):
    """Time the graphs of DIN, early fusion and DMAE's forms, one request of 50 events, by the number of candidates."""

    candidates: tuple[int, ...] = (50, 200, 1000, 2000)
    """Candidates of a request."""
    repetitions: int = 200
    """Repetitions of each case; slow ones get as many as fit 6 seconds, at least 5."""
    output: Path = RESULTS / "dmae-cost.json"
    """File of the result."""

    def __post_init__(self) -> None:
        if not self.candidates or min(self.candidates) < 1 or self.repetitions < 1:
            raise ValueError("--candidates and --repetitions must be at least 1, and --candidates at least one")

    def run(self) -> int:
        with self.console.status("study dmae cost") as status:
            found = cost.run(self.candidates, self.repetitions, status.update)
        result = {"scenario": "dmae-cost", "kind": "dmae-cost", "run": UNTRAINED, **_origin(), **found}
        write_json(self.output, result)
        rows = [list(row.values()) for row in found["rows"]]
        title = f"p50 of one request, {found['events']} events, one thread"
        show(self.console, table(title, ["model", "candidates", "ms", "of din", "repetitions"], rows))
        self.console.print(str(self.output), highlight=False, soft_wrap=True)
        self.emit(result)
        return 0

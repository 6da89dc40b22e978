"""`recserve study dmae planted|cold|cost`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.dmae import cold, cost
from serving.environment import UNTRAINED, circumstances
from training import datasets
from training.checkpoint import write_json
from training.tasks.click import CLICK

_FIGURES = ("all", "cold", "unknown", "drop")


def _origin(name: str) -> dict[str, Any]:
    return {
        "scenario": name,
        "kind": name,
        **circumstances(),
    }


def _written(study: Command, result: dict[str, Any], output: Path) -> int:
    write_json(output, result)
    rows = [[one["system"], *(one[figure]["mean"] for figure in _FIGURES)] for one in result["rows"]]
    show(study.console, table("AUC on the test part", ["system", *_FIGURES], rows))
    study.console.print(str(output), highlight=False, soft_wrap=True)
    study.emit(result)
    return 0


@dataclass(frozen=True, kw_only=True)
class Planted(Command):
    """Train DMAE, its controls, early fusion and DIN on clicks that content drives, and measure them on new items."""

    seeds: int = 3
    """Seeds of the clicks, each trained with once."""
    output: Path = STUDY_RESULTS / "dmae-planted.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if self.seeds < 1:
            raise ValueError(f"--seeds is {self.seeds}; it must be at least 1")

    def run(self) -> int:
        with self.console.status("study dmae planted") as status:
            means = cold.means(cold.planted(range(self.seeds), status.update))
        return _written(self, {**_origin("dmae-planted"), "run": "trained by the command", "rows": means}, self.output)


@dataclass(frozen=True, kw_only=True)
class Cold(Command):
    """Measure finished runs of systems that read histories on cold items, and without any target's id."""

    runs: Positional[tuple[Path, ...]]
    """Folders of the runs, all on one data set."""
    output: Path = STUDY_RESULTS / "dmae-cold.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if not self.runs:
            raise ValueError("name the folder of at least one run")

    def run(self) -> int:
        with self.console.status("study dmae cold"):
            rows, sets, counts = zip(*(cold.finished(folder) for folder in self.runs), strict=True)
        if len({*sets}) > 1:
            raise ValueError(f"the runs are of {', '.join(sorted({*sets}))}; name those of one data set")
        named = [f"{folder.resolve().parent.name}/{folder.resolve().name}" for folder in self.runs]
        about = {"run": named, "dataset": sets[0], "cold_rows": counts[0]}
        return _written(self, {**_origin("dmae-cold"), **about, "rows": cold.means(rows)}, self.output)


@dataclass(frozen=True, kw_only=True)
class Cost(Command):
    """Time the graphs of DIN, early fusion and DMAE's forms, one request of 50 events, by the number of candidates."""

    candidates: tuple[int, ...] = (50, 200, 1000, 2000)
    """Candidates of a request."""
    repetitions: int = 200
    """Repetitions of each case; slow ones get as many as fit 6 seconds, at least 5."""
    output: Path = STUDY_RESULTS / "dmae-cost.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if not self.candidates or min(self.candidates) < 1 or self.repetitions < 1:
            raise ValueError("--candidates and --repetitions must be at least 1, and --candidates at least one")

    def run(self) -> int:
        with self.console.status("study dmae cost") as status:
            found = cost.run(datasets.read(CLICK.default), self.candidates, self.repetitions, status.update)
        result = {**_origin("dmae-cost"), "run": UNTRAINED, **found}
        write_json(self.output, result)
        rows = [list(row.values()) for row in found["rows"]]
        title = f"median CPU time of one request, {found['events']} events, one thread"
        show(self.console, table(title, ["model", "candidates", "CPU ms", "of din", "repetitions"], rows))
        self.console.print(str(self.output), highlight=False, soft_wrap=True)
        self.emit(result)
        return 0

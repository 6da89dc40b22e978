"""`recserve study matt-cost`: MATT at 4, 8 and 16 paths beside one forward of its base model."""

from dataclasses import dataclass
from pathlib import Path

from recserve.commands.command import Command, show, table
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.matt_cost.bench import BASES, run
from training import datasets
from training.checkpoint import write_json
from training.data.click import FEATURES
from training.system import Wanted
from training.tasks.click import CLICK

_COLUMNS = {
    "base": "base",
    "paths": "P",
    "base_ms": "base ms",
    "graph_ms": "P + 1 paths ms",
    "graph_ratio": "x base",
    "sampler_ms": "sampler ms",
    "served_base_ms": "served base ms",
    "served_ms": "served ms",
    "served_ratio": "x served base",
}


@dataclass(frozen=True, kw_only=True)
class MattCost(Command):
    """Time each base's graph and MATT around it, in this process and through the server, p50 of one request.

    Exits with 1 where a graph over P sampled paths and the full one takes P + 1 forwards of the base or more.
    """

    bases: tuple[str, ...] = BASES
    """Models to put MATT around."""
    candidates: int = 1000
    """Candidates of the request."""
    repetitions: int = 100
    """Repetitions of each timing."""
    output: Path = STUDY_RESULTS / "matt-cost.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if unknown := sorted(set(self.bases) - set(BASES)):
            raise ValueError(f"--bases {', '.join(unknown)}: there are {', '.join(BASES)}")
        if self.candidates < 1 or self.repetitions < 1:
            raise ValueError("--candidates and --repetitions must be at least 1")

    def run(self) -> int:
        data = CLICK.view(datasets.read(CLICK.default), Wanted(frozenset({FEATURES}), 1, {}))
        with self.console.status("study matt-cost") as status:
            result = run(self.bases, data, (self.candidates, self.repetitions), status.update)
        write_json(self.output, result)
        rows = [[row[name] for name in _COLUMNS] for row in result["rows"]]
        title = f"p50 of {self.candidates:,} candidates, one thread; served: with sampler, gRPC and queues"
        show(self.console, table(title, list(_COLUMNS.values()), rows))
        self.console.print(str(self.output), highlight=False, soft_wrap=True)
        self.emit(result)
        return 0 if result["ok"] else 1

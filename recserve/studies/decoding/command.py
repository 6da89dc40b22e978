"""`recserve study decoding`: one graph of all steps beside a search around a graph of one step."""

from dataclasses import dataclass
from pathlib import Path

from recserve.commands.command import Command, show, table
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.decoding.bench import BAR, BAR_BEAMS, BEAMS, run
from training.checkpoint import write_json

_COLUMNS = {
    "beams": "beams",
    "graph_ms": "one graph ms",
    "served_ms": "served ms",
    "shared_ms": "step by step ms",
    "per_path_ms": "and path by path ms",
    "shared_ratio": "step by step / graph",
    "per_path_ratio": "path by path / graph",
    "served_ratio": "path by path / served",
}


@dataclass(frozen=True, kw_only=True)
class Decoding(Command):
    """Time one request of REG4Rec: the served graph, and beam search around a graph of one step.

    One thread, p50; the search keeps nothing between steps.

    Exits with 1 where at 32 beams the graph is less than 5 times as fast as the search with a history for each path.
    """

    beams: tuple[int, ...] = BEAMS
    """Numbers of beams."""
    history: int = 20
    """Items of the request's history."""
    repetitions: int = 50
    """Repetitions of each timing."""
    output: Path = STUDY_RESULTS / "reg4rec-decoding.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if not self.beams or min(*self.beams, self.history, self.repetitions, 1) < 1:
            raise ValueError("--beams, --history and --repetitions must be at least 1")

    def run(self) -> int:
        with self.console.status("study decoding") as status:
            result = run(self.beams, self.history, self.repetitions, status.update)
        write_json(self.output, result)
        rows = [[row[name] for name in _COLUMNS] for row in result["rows"]]
        title = f"p50 of one request, {result['items']:,} items, a history of {self.history}, one thread"
        show(self.console, table(title, list(_COLUMNS.values()), rows))
        said = "reached" if result["ok"] else "[red]missed[/]"
        self.console.print(f"{BAR:g} times as fast at {BAR_BEAMS} beams: {said}; {self.output}", highlight=False)
        self.emit(result)
        return 0 if result["ok"] else 1

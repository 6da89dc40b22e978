"""`recserve study one-call`: what retrieve_then_rank costs beside a client that asks retriever and ranker itself."""

from dataclasses import dataclass
from pathlib import Path

from export.served import published
from loadtest.bench import source_of
from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.one_call.bench import Turns, run
from recserve.studies.one_call.picture import draw
from serving.environment import circumstances
from training.checkpoint import write_json
from training.retrieve_then_rank import NAME


@dataclass(frozen=True, kw_only=True)
class OneCall(Command):
    """Time retrieve_then_rank beside two calls, retriever then ranker, against one server, and its CPU time.

    Nothing is timed where a list of one call is not that of two, bit for bit. Writes the result, and a picture beside
    it (.svg).
    """

    ranker: Positional[str]
    """Name of the ranker's model, which clients can ask as well."""
    repository: Path = Path("model_repository")
    """A model repository that RUN was exported to with --then-rank."""
    turns: int = 40
    """Turns of each way, one after the other."""
    calls: int = 50
    """Requests of a turn."""
    output: Path = STUDY_RESULTS / "one-call.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if min(self.turns, self.calls) < 1:
            raise ValueError("--turns and --calls must be at least 1")

    def run(self) -> int:
        with self.console.status("study one-call") as status:
            found = run(self.repository, self.ranker, Turns(self.turns, self.calls), status.update)
        result = {
            "scenario": "one-call",
            "kind": "one-call",
            "run": source_of(self.repository / NAME),
            "ranker": self.ranker,
            "dataset": published(self.repository, NAME).identity.dataset,
            **circumstances(),
            **found,
        }
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(result, picture)
        names = list(found["rows"][0])
        rows = [[row[name] for name in names] for row in found["rows"]]
        rows.append(["one of two", *found["one of two"].values()])
        show(self.console, table(f"milliseconds of a request, {found['requests']:,} of each way", names, rows))
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0

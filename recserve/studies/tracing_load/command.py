"""`recserve study tracing-load`: what an answer of a student costs when it is served, by how many there are already."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from export.histories import facts_of
from export.served import data_of, published
from export.user_events import add_user_events
from loadtest.bench import source_of
from loadtest.cores import split, started_on
from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.tracing_load.lesson import REPORTED, WAYS, Plan, lesson
from recserve.studies.tracing_load.picture import draw
from serving.environment import circumstances
from serving.histories.histories import Histories
from serving.histories.opening import open_histories
from serving.server import ServerOptions, TritonServer
from training.checkpoint import write_json
from training.tasks.tracing_kept_served import OF_USER

GAP = 1e-4
"""By which probabilities of the two ways may differ."""


@dataclass(frozen=True, kw_only=True)
class TracingLoad(Command):
    """Time reports and questions of many students at once, by their number of answers, beside sending all of those.

    Exits with 1 where what is kept answers otherwise than the whole sequence.
    """

    model: Positional[str]
    """Name of a tracing model whose release also has <name>_of_user."""
    repository: Path = Path("model_repository")
    """Model repository that has it; it is copied, not changed."""
    answers: tuple[int, ...] = (10, 100, 450, 1000)
    """Answers of each student before the first that is timed."""
    students: int = 16
    """Students who answer at once."""
    cycles: int = 30
    """Answers of each student that are timed, each followed by a question."""
    questions: int = 20
    """Questions of a request."""
    seed: int = 0
    """Seed of everything random."""
    output: Path = STUDY_RESULTS / "tracing-load.json"
    """File of the result; the picture lies beside it, as .svg."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if min(self.students, self.cycles, self.questions, *self.answers) < 1:
            raise ValueError("--students, --cycles, --questions and --answers must be at least 1")

    def run(self) -> int:
        if missing := [name for name in (self.model, self._kept) if not (self.repository / name).is_dir()]:
            raise ValueError(
                f"{self.repository} has no {missing[0]}: export a tracing model of a live data set into it, such as "
                "one of simulated-students-live"
            )
        with self.console.status("study tracing-load") as status:
            rows = self._rows(status.update)
        result = {
            "scenario": "tracing-load",
            "kind": "tracing-load",
            "run": source_of(self.repository / self.model),
            "model": self.model,
            "dataset": published(self.repository, self.model).identity.dataset,
            **circumstances(),
            "students": self.students,
            "cycles": self.cycles,
            "questions": self.questions,
            "seed": self.seed,
            "rows": rows,
        }
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(result, picture)
        self._table(rows)
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0 if all(row["gap"] <= GAP for row in rows) else 1

    @property
    def _kept(self) -> str:
        return f"{self.model}{OF_USER}"

    def _rows(self, report: Callable[[str], None]) -> list[dict[str, Any]]:
        interactions = data_of(published(self.repository, self.model))
        plan = Plan(self.students, self.cycles, min(self.questions, len(interactions.items) - 1), self.seed)
        with TemporaryDirectory(prefix="recserve-tracing-load-") as name, ExitStack() as stack:
            folder = Path(name)
            live = folder / "models"
            live.mkdir()
            for one in self.repository.glob("[!.]*"):
                (live / one.name).symlink_to(one.resolve())
            add_user_events(live)
            histories = Histories(open_histories(f"lmdb://{folder}/histories"))
            stack.callback(histories.close)
            histories.register(facts_of(interactions))
            options = ServerOptions(
                state=folder / "state", log=folder / "log", histories=f"lmdb://{folder}/histories", check_golden=False
            )
            report("starting tritonserver")
            with started_on(split().server):
                server = stack.enter_context(TritonServer(live, options))
            stack.enter_context(started_on(split().load))
            rows = []
            for count in self.answers:
                report(f"{self.students} students with {count:,} answers each")
                rows.append(lesson(server.url, self.model, interactions, histories, count, plan))
            return rows

    def _table(self, rows: list[dict[str, Any]]) -> None:
        columns = ["answers", *(f"{way} {p} ms" for way in WAYS for p in ("p50", "p99")), "largest difference"]
        cells = [
            [row["answers"], *(row[way][f"{p}_ms"] for way in WAYS for p in ("p50", "p99")), f"{row['gap']:.1e}"]
            for row in rows
        ]
        title = (
            f"{self.students} students at once: an answer {REPORTED}, a question to what is kept, and one that sends "
            "all answers"
        )
        show(self.console, table(title, columns, cells))

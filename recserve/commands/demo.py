"""`recserve demo`: the whole line for one system, from raw events to ranked titles, with the figures that prove it."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from export.artifacts import Source
from export.parity import ParityOptions
from export.repository import publish
from loadtest.latency import Percentiles, measure
from loadtest.scenario import Direct
from recserve import scoring
from recserve.commands.command import Command, show, table
from recserve.commands.parity import as_json, walk_visibly
from recserve.runs import Plan, Trained, load, load_data, models
from recserve_client import Client
from serving.environment import versions
from serving.server import ServerOptions, TritonServer
from training import datasets
from training.asking import Question
from training.checkpoint import write_json
from training.data.click import ClickData
from training.fit import FitOptions, fit
from training.interactions import Interactions
from training.registry import DEMO, system

CANDIDATES = (1, 100, 1000)


@dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """Fetch, train, export, prove, serve, rank, measure; writes <folder>/report.json and stops the server."""

    folder: Path = Path("runs/demo")
    """Folder of everything; deleted first where an earlier demo made it."""
    users: tuple[int, ...] = (42, 405, 655)
    """Users whose rankings are shown; the first is also the one that latency is measured with."""
    top: int = 10
    """Titles to print for each."""
    seed: int = 0
    """Seed of everything random."""
    max_epochs: int | None = None
    """Epochs at most, fewer than configured for a quick look."""
    repetitions: int = 500
    """Requests that are timed for each number of candidates."""

    def run(self) -> int:
        started = time.monotonic()
        self._make_room()
        self._step(1, "data")
        interactions = datasets.read(DEMO.task.default, report=self._say)
        names = (DEMO.name, *filter(None, [DEMO.baseline_of(DEMO.config())]), *DEMO.controls)
        self._step(2, f"training {DEMO.name}, its baseline and its controls on {len(interactions.events)} events")
        trained = {name: self._train(name) for name in names}
        self._step(3, "export to ONNX, model repository")
        repository, shown = self.folder / "model_repository", trained[DEMO.name]
        publish(repository, models(shown), Source(kind="run", name=str(shown.folder)), report=self._say)
        self._step(4, "proof that what is served equals what was trained")
        ladder = walk_visibly(repository, ParityOptions(), self.console)
        if not ladder.ok:
            return 1
        self._step(5, "tritonserver")
        gap, latency = self._serve(repository, shown, interactions)
        report = {
            "data": {
                "events": len(interactions.events),
                "users": len(interactions.users) - 1,
                "items": len(interactions.items) - 1,
            },
            "test": {name: one.metrics["test"] for name, one in trained.items()},
            "served_against_offline": gap,
            "parity": as_json(ladder),
            "latency_ms": latency,
            "versions": versions(),
            "seconds": round(time.monotonic() - started, 1),
        }
        self._tables(trained, report)
        write_json(self.folder / "report.json", report)
        self._say(f"\n{self.folder / 'report.json'} written after {report['seconds']} s; the server is stopped")
        self.emit(report)
        return 0

    def _make_room(self) -> None:
        if not self.folder.exists():
            return
        if any(self.folder.iterdir()) and not (self.folder / ".demo").is_file():
            raise ValueError(f"{self.folder} holds something that is not a demo; name another --folder")
        shutil.rmtree(self.folder)

    def _step(self, number: int, what: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / ".demo").touch()
        self.console.print(f"\n[bold cyan]{number}/5 {what}[/]", highlight=False)

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)

    def _train(self, name: str) -> Trained:
        chosen = system(name)
        plan = Plan(chosen, chosen.task.default, chosen.config(), self.seed)
        options = FitOptions(run=plan.folder(self.folder), seed=self.seed, max_epochs=self.max_epochs, quiet=self.json)
        fit(chosen, plan.config, load_data(plan, self.folder), options)
        return load(options.run)

    def _serve(
        self, repository: Path, trained: Trained, interactions: Interactions
    ) -> tuple[dict[str, float], dict[str, Any]]:
        """Rankings on the screen; the gap between served and offline scores; latency."""
        log = self.folder / "tritonserver.log"
        with TritonServer(repository, ServerOptions(log=log)) as server, server.client() as client:
            self._say(f"ready: gRPC {server.url}, log {log}")
            for user in self.users:
                self._ask(client, interactions, user)
            gap = self._compare(client, trained)
            return gap, self._latency(client, repository, interactions)

    def _ask(self, client: Client, interactions: Interactions, user: int) -> None:
        question = Question(user, (), (), scoring.MOST)
        request = DEMO.task.request(interactions, question)
        shown = DEMO.task.shown(interactions, question, request, client.infer(DEMO.name, request))
        self._say(f"\n{shown.lines[0]}")
        show(self.console, table(shown.title, shown.columns, shown.rows[: self.top]))

    def _compare(self, client: Client, trained: Trained) -> dict[str, float]:
        """All pairs of the test part, asked for as a client does, against the same scored offline."""
        data = trained.data
        assert isinstance(data, ClickData)
        user, item = (data.log.user[data.test.places], data.log.item[data.test.places])
        self._say(f"\nscoring the {len(user)} pairs of the test part through the server, and offline")
        asked = scoring.ranker(models(trained))
        one, other = scoring.served(client.infer, asked, user, item, {}), scoring.offline(asked, user, item, {})
        gap = float(np.abs(one - other).max())
        self._say(f"largest difference: {gap:.1e}")
        return {"pairs": len(user), "largest": gap}

    def _latency(self, client: Client, repository: Path, interactions: Interactions) -> dict[str, Any]:
        """Direct: the release in this process with what the server has at hand. Served: user id in, scores out."""
        direct = Direct(repository / DEMO.name)
        taken: dict[str, Any] = {"direct": {}, "served": {}}
        for count in track(CANDIDATES, "measuring latency", console=self.console, transient=True):
            ids = np.resize(np.arange(1, len(interactions.items)), count)[None]
            request = {"user_id": np.array([[self.users[0]]], np.int64), "candidates": ids}
            prepared = direct.prepare(request)
            calls: dict[str, Callable[[], object]] = {
                "direct": lambda prepared=prepared: direct.run(prepared),
                "served": lambda request=request: client.infer(DEMO.name, request),
            }
            for name, percentiles in measure(calls, self.repetitions).items():
                taken[name][str(count)] = percentiles._asdict()
        return taken

    def _tables(self, trained: dict[str, Trained], report: dict[str, Any]) -> None:
        columns = (*DEMO.task.columns, *DEMO.columns)
        rows = [
            [name, *(one.metrics["test"].get(column.metric, "") for column in columns)] for name, one in trained.items()
        ]
        self.console.print()
        show(self.console, table("quality on the test part", ["model", *(column.title for column in columns)], rows))
        rows = [
            [what, int(count), *Percentiles(**percentiles)]
            for what, by_count in report["latency_ms"].items()
            for count, percentiles in by_count.items()
        ]
        columns = ["ms per request", "candidates", "p50", "p95", "p99"]
        show(self.console, table("latency, one client", columns, rows))

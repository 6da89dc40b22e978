"""`recserve demo`: the whole line for one system, from raw ratings to ranked titles, with the figures that prove it."""

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
from recserve.commands.command import Command, show, table
from recserve.commands.parity import as_json, walk_visibly
from recserve.commands.rank import rank, show_ranking
from recserve.runs import Trained, folder_of, load, models
from serving.backends import packing
from serving.client import Client
from serving.direct import DirectModel
from serving.environment import versions
from serving.server import ServerOptions, TritonServer
from training.checkpoint import write_json
from training.data import movielens
from training.data.fetch import fetch
from training.data.ranking import RankingData
from training.fit import FitOptions, fit
from training.layers.ranker import quality
from training.registry import SYSTEMS

CANDIDATES = (1, 100, 1000)
BASELINES = ("din", "mean_pooling", "recency_pooling")
SERVED_SYSTEM = "lrea"


@dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """Fetch, train, export, prove, serve, rank, measure; writes <folder>/report.json and stops the server."""

    folder: Path = Path("runs/demo")
    """Folder of runs, repository and report; an earlier demo's is deleted first."""
    users: tuple[int, ...] = (42, 405, 655)
    """Users whose rankings are shown; latency is measured with the first."""
    top: int = 10
    """Titles to print for each."""
    seed: int = 0
    """Seed of everything random."""
    max_epochs: int | None = None
    """Epochs at most, in place of those configured, for a quick look."""
    repetitions: int = 500
    """Timed requests for each number of candidates."""

    def run(self) -> int:
        started = time.monotonic()
        self._make_room()
        self._step(1, "data")
        fetch("ml-100k", None, self._say)
        data = movielens.load()
        self._step(2, f"training {SERVED_SYSTEM} and its baselines on {len(data.train)} ratings")
        trained = {name: self._train(name, data) for name in (SERVED_SYSTEM, *BASELINES)}
        self._step(3, "export to ONNX, model repository")
        repository = self.folder / "model_repository"
        self._publish(trained[SERVED_SYSTEM], repository)
        self._step(4, "proof that what is served equals what was trained")
        ladder = walk_visibly(repository, ParityOptions(), self.console)
        if not ladder.ok:
            return 1
        self._step(5, "tritonserver")
        served, latency = self._serve(repository, trained[SERVED_SYSTEM])
        report = {
            "data": {"rows": len(data.ratings), "users": data.ratings["user"].n_unique(), "items": len(data.titles)},
            "auc": self._auc(trained, served),
            "negative_share": trained[SERVED_SYSTEM].metrics["test"]["negative_share"],
            "parity": as_json(ladder),
            "latency_ms": latency,
            "versions": versions(),
            "seconds": round(time.monotonic() - started, 1),
        }
        self._tables(trained, served, report)
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

    def _train(self, name: str, data: RankingData) -> Trained:
        chosen = SYSTEMS[name]
        config = chosen.config()
        folder = folder_of(self.folder, name, config, self.seed)
        fit(chosen, config, data, FitOptions(run=folder, seed=self.seed, max_epochs=self.max_epochs, quiet=self.json))
        return load(folder)

    def _publish(self, trained: Trained, repository: Path) -> None:
        publish(repository, models(trained), Source(kind="run", name=str(trained.folder)), report=self._say)

    def _serve(self, repository: Path, trained: Trained) -> tuple[dict[str, float], dict[str, Any]]:
        """Rankings on the screen; quality of the served scores; latency."""
        data = trained.data
        log = self.folder / "tritonserver.log"
        with TritonServer(repository, ServerOptions(log=log)) as server, server.client() as client:
            self._say(f"ready: gRPC {server.url}, log {log}")
            for user in self.users:
                show_ranking(self.console, data, user, rank(client, data, user)[: self.top])
            self._say(f"\nscoring the {len(data.test)} test ratings through the server")
            assert trained.system.score_split is not None
            scores = trained.system.score_split(client.infer, data.test, trained.config)
            latency = self._latency(client, repository)
        odds = np.log(scores.astype(np.float64)) - np.log1p(-scores.astype(np.float64))
        return quality(data.test, odds), latency

    def _latency(self, client: Client, repository: Path) -> dict[str, Any]:
        """Direct: the scorer's graph in this process with the state at hand. Served: user id in, scores out."""
        direct = DirectModel.open(repository / "lrea_scorer")
        user = np.array([[self.users[0]]], np.int64)
        taken: dict[str, Any] = {"direct": {}, "served": {}}
        for count in track(CANDIDATES, "measuring latency", console=self.console, transient=True):
            ids = np.resize(np.arange(1, 1683), count)[None]
            state = client.infer("user_state", {"user_id": user, "candidates": ids})
            feeds = packing.pack(direct.spec, [{"candidates": ids, **state}])
            calls: dict[str, Callable[[], object]] = {
                "direct": lambda feeds=feeds: direct.session.run(None, feeds),
                "served": lambda ids=ids: client.infer("lrea_ranker", {"user_id": user, "candidates": ids}),
            }
            for name, percentiles in measure(calls, self.repetitions).items():
                taken[name][str(count)] = percentiles._asdict()
        return taken

    def _auc(self, trained: dict[str, Trained], served: dict[str, float]) -> dict[str, float]:
        return {
            "lrea_trained": trained["lrea"].metrics["test"]["auc"],
            "lrea_served": served["auc"],
            **{name: trained[name].metrics["test"]["auc"] for name in BASELINES},
        }

    def _tables(self, trained: dict[str, Trained], served: dict[str, float], report: dict[str, Any]) -> None:
        names = ("auc", "gauc", "log_loss")
        rows = [[name, *(one.metrics["test"][metric] for metric in names)] for name, one in trained.items()]
        rows.insert(1, ["lrea, through tritonserver", *(served[metric] for metric in names)])
        self.console.print()
        show(self.console, table("quality on the test part", ["model", "AUC", "GAUC", "log loss"], rows))
        self._say(f"share of negative attention mass: {report['negative_share']:.5f}")
        rows = [
            [what, int(count), *Percentiles(**percentiles)]
            for what, by_count in report["latency_ms"].items()
            for count, percentiles in by_count.items()
        ]
        columns = ["ms per request", "candidates", "p50", "p95", "p99"]
        show(self.console, table("latency, one client", columns, rows))

"""`recserve study sfpnet-planted`: SFPNet where the scenario decides which half of the history counts."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from recserve.commands.command import Command, show, table
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.results import spread
from recserve.studies.scenarios.scenes import Moved, bars, moved
from serving.environment import circumstances
from training.checkpoint import write_json
from training.data.click import ClickData
from training.data.planted_scenarios import HALVES, PLACES, planted_halves
from training.fit import FitOptions, fit
from training.registry import system
from training.system import Wanted
from training.systems.sfpnet import SFPNet

SYSTEMS: dict[str, tuple[str, dict[str, Any]]] = {
    "sfpnet": ("sfpnet", {}),
    "sfpnet-additive": ("sfpnet", {"tailoring": "additive"}),
    "pepnet": ("pepnet", {}),
    "din": ("din", {}),
}
SIZES = {"dim": 16, "hidden": (32, 16), "max_length": 48, "batch_size": 128, "learning_rate": 5e-3, "dropout": 0.0}
"""Of every system alike."""
_AWAY = PLACES[1:]
"""Scenarios in which half of the history counts."""
_TWO = (2, 3)
"""Numbers of two that count opposite halves."""
_SHOWN, _USERS = 16, 90
_NUM_QUARTERS = 4


@dataclass(frozen=True, kw_only=True)
class SfpnetPlanted(Command):
    """Train SFPNet, its controls and DIN where the scenario decides which half of the history counts, and draw it."""

    seeds: int = 3
    """Seeds of the clicks, each trained with once."""
    epochs: int = 8
    """Passes over the training part."""
    output: Path = STUDY_RESULTS / "sfpnet-planted.json"
    """File of the result; the picture lies beside it, as .svg."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if self.seeds < 1 or self.epochs < 1:
            raise ValueError("--seeds and --epochs must be at least 1")

    def run(self) -> int:
        with self.console.status("study sfpnet-planted"):
            rows, behaviours = trained(range(self.seeds), self.epochs)
        result = {
            "scenario": "sfpnet-planted",
            "kind": "sfpnet-planted",
            "run": f"{self.seeds} seeds each, trained by the command",
            **circumstances(),
            "dataset": "planted-halves",
            "seeds": list(range(self.seeds)),
            "rows": rows,
            "scenarios": [PLACES[one - 1] for one in _TWO],
            "behaviours": [one._asdict() for one in behaviours],
        }
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(rows, behaviours, picture)
        lines = [[row["system"], row["auc"]["mean"], row["gauc"]["mean"]] for row in rows]
        show(self.console, table("mean of the four scenarios", ["system", "AUC", "GAUC"], lines))
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0


def trained(
    seeds: Sequence[int], epochs: int, users: int = _USERS, names: Sequence[str] = tuple(SYSTEMS)
) -> tuple[list[dict[str, Any]], list[Moved]]:
    """A row for each system: AUC and GAUC, means over the scenarios that count a half, over the seeds; and what the
    first seed's SFPNet does with behaviours of a user in two of them."""
    rows, behaviours = [], []
    for name in names:
        called, changed = SYSTEMS[name]
        chosen = system(called)
        config = chosen.config(**SIZES, epochs=epochs, **changed)
        found: dict[str, list[float]] = {"auc": [], "gauc": []}
        for seed in seeds:
            clicks = planted_halves(num_users=users, num_events=SIZES["max_length"], seed=seed)
            data = chosen.task.view(clicks, Wanted(chosen.reads, config.max_length, {}))
            with tempfile.TemporaryDirectory(prefix="recserve-halves-") as folder:
                fitted = fit(chosen, config, data, FitOptions(run=Path(folder) / "run", seed=seed, quiet=True))
            for metric, values in found.items():
                values.append(fmean(fitted.metrics["test"][f"{metric} place={one}"] for one in _AWAY))
            if not behaviours and isinstance(fitted.module, SFPNet):
                behaviours = _behaviours(fitted.module.eval(), data)
        rows.append({"system": name, **{one: spread(values) for one, values in found.items()}, "by_seed": found})
    return rows, behaviours


def _behaviours(module: SFPNet, data: ClickData) -> list[Moved]:
    """The first user's newest ones, by the quarter of the catalogue that they are in."""
    found = []
    for one in moved(module, data, 1, _TWO)[:_SHOWN]:
        quarter = (int(one.title.split()[1]) - 1) % _NUM_QUARTERS
        counts = next(PLACES[number - 1] for number in _TWO if quarter in HALVES[number - 2])
        found.append(one._replace(title=f"{one.title}, counts in {counts}"))
    return sorted(found, key=lambda one: one.title.split(", ")[1])


def draw(rows: list[dict[str, Any]], behaviours: list[Moved], path: Path) -> None:
    """Systems on the left, behaviours of one user on the right; the suffix says the format."""
    figure = Figure(figsize=(13.0, 6.4), layout="constrained")
    figure.suptitle("Planted: the scenario decides which half of the history counts", fontsize=13, fontweight="bold")
    left, right = figure.subplots(1, 2)
    for place, (metric, colour) in enumerate((("auc", "#0b6e99"), ("gauc", "#6a9f3c"))):
        values = [row[metric]["mean"] for row in rows]
        at = [number + 0.38 * (place - 0.5) for number in range(len(rows))]
        left.bar(
            at, values, 0.36, color=colour, label=metric.upper(), yerr=[row[metric]["std"] for row in rows], capsize=3
        )
    left.set_xticks(range(len(rows)), [row["system"] for row in rows])
    left.set(ylim=(0.5, 1), ylabel=f"test part, mean of four scenarios, {len(rows[0]['by_seed']['auc'])} seeds")
    left.legend(frameon=False)
    bars(right, behaviours, [PLACES[one - 1] for one in _TWO])
    figure.savefig(path, dpi=120)

"""Items that training did not see: planted clicks that content drives, and finished runs on real ones."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recserve import runs
from recserve.results import named, spread
from recserve.studies.dmae.data import content_clicks, with_unknown_targets
from training.data.click import ClickData
from training.fit import FitOptions, fit, predict
from training.layers.ranker import HistoryModel
from training.metrics import auc, defined
from training.registry import system
from training.system import System, Wanted

Case = tuple[str, dict[str, Any]]
"""A system and its settings."""
PLANTED: tuple[Case, ...] = (
    ("din", {}),
    ("early_fusion", {}),
    ("dmae", {}),
    ("dmae", {"fusion": "gate"}),
    ("dmae", {"fusion": "none"}),
    ("dmae", {"decoder_weight": 0.0}),
    ("dmae", {"modalities": ("text",)}),
    ("dmae", {"modalities": ("graph",)}),
)
_SIZES = {"dim": 16, "max_length": 40, "hidden": (32, 16), "batch_size": 128, "learning_rate": 5e-3}
"""Of every system alike; chosen once."""
_COLD = 5
"""Training events from which on an item is not cold."""

Report = Callable[[str], None]


class Row(NamedTuple):
    """AUC on the test part."""

    system: str
    seed: int
    all: float
    cold: float
    """Of items with fewer than five training events."""
    unknown: float
    """All, where no target's id is known: its fields, its content and the history are what they were."""


def measured(name: str, seed: int, module: HistoryModel, data: ClickData) -> Row:
    """One trained model."""
    label, logits = data.test.label, predict(module, data.test)
    cold = data.train_item_counts[data.log.item[data.test.places]] < _COLD
    unknown = predict(with_unknown_targets(module), data.test)
    found = defined({"cold": lambda: auc(label[cold], logits[cold])})
    return Row(name, seed, auc(label, logits), found.get("cold", float("nan")), auc(label, unknown))


def planted(
    seeds: Sequence[int],
    report: Report = lambda line: None,
    *,
    systems: Sequence[Case] = PLANTED,
    epochs: int = 10,
) -> list[Row]:
    """Every system on the clicks of each seed."""
    rows = []
    for seed in seeds:
        clicks = content_clicks(seed=seed)
        for name, settings in systems:
            chosen = system(name)
            config = chosen.config(**_SIZES, epochs=epochs, **settings)
            report(f"seed {seed}: {named(name, chosen.variant(config))}")
            data = chosen.task.view(clicks, Wanted(chosen.reads, config.max_length, {}))
            rows.append(measured(named(name, chosen.variant(config)), seed, _trained(chosen, config, data, seed), data))
    return rows


def _trained(chosen: System, config: object, data: ClickData, seed: int) -> HistoryModel:
    with tempfile.TemporaryDirectory(prefix="recserve-cold-") as folder:
        module = fit(chosen, config, data, FitOptions(run=Path(folder) / "run", seed=seed, quiet=True)).module
    assert isinstance(module, HistoryModel)
    return module


def finished(folder: Path) -> tuple[Row, str, int]:
    """A finished run of a model that reads histories, its data set, and how many test rows are of cold items.

    Raises ValueError where it is another's.
    """
    trained = runs.load(folder)
    if not isinstance(trained.module, HistoryModel):
        raise ValueError(f"{folder} is a run of {trained.system.name}, which does not read histories")
    assert isinstance(trained.data, ClickData)
    name = named(trained.system.name, trained.system.variant(trained.config))
    if trained.config.max_length != trained.system.config().max_length:
        name = f"{name}, {trained.config.max_length} events"
    data = trained.data
    cold = int((data.train_item_counts[data.log.item[data.test.places]] < _COLD).sum())
    return measured(name, runs.plan_of(folder).seed, trained.module, data), trained.dataset, cold


def means(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Mean and deviation of each system over its seeds, and how much is lost without the target's id."""
    found = []
    for name in dict.fromkeys(row.system for row in rows):
        own = [row for row in rows if row.system == name]
        figures = {one: [getattr(row, one) for row in own] for one in ("all", "cold", "unknown")}
        figures["drop"] = [row.all - row.unknown for row in own]
        summary = {one: spread(values) for one, values in figures.items()}
        found.append({"system": name, "seeds": [row.seed for row in own], **summary, "by_seed": figures})
    return found

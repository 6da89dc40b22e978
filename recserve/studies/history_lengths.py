"""`recserve study history-lengths RUN ...`: finished runs by the events before each test sample; trains nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recserve import runs
from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.results import named, spread
from serving.environment import circumstances
from training.checkpoint import write_json
from training.data.click import ClickData, ClickSplit
from training.loop import predict
from training.metrics import auc, defined, gauc

RANGES = {"below 50": (0, 49), "50 to 200": (50, 200), "above 200": (201, 2**62)}
"""Events before a sample, all that there are, also of a system that reads the newest ones alone."""


class Row(NamedTuple):
    """One run on the test samples of one range."""

    dataset: str
    system: str
    seed: int
    events: str
    samples: int
    auc: float
    gauc: float


@dataclass(frozen=True, kw_only=True)
class HistoryLengths(Command):
    """Measure finished runs by the length of the history before each test sample; trains nothing."""

    runs: Positional[tuple[Path, ...]]
    """Folders of finished runs of click prediction."""
    output: Path = STUDY_RESULTS / "history-lengths.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if not self.runs:
            raise ValueError("name the folder of at least one run")

    def run(self) -> int:
        with self.console.status("study history-lengths"):
            means = averaged([row for folder in self.runs for row in finished(folder)])
        result = {
            "scenario": "history-lengths",
            "kind": "history-lengths",
            "run": [f"{folder.resolve().parent.name}/{folder.resolve().name}" for folder in self.runs],
            **circumstances(),
            "rows": means,
        }
        write_json(self.output, result)
        rows = [
            [row["dataset"], row["system"], row["events"], row["samples"], row["auc"]["mean"], row["gauc"]["mean"]]
            for row in means
        ]
        show(self.console, table("by events before", ["data", "system", "events", "samples", "AUC", "GAUC"], rows))
        self.console.print(str(self.output), highlight=False, soft_wrap=True)
        self.emit(result)
        return 0


def lengths(split: ClickSplit) -> np.ndarray:
    """int64 [len(split)]: events of each sample's user before it, however many a system keeps of them."""
    starts, ends = split.source.log.past(split.places)
    return ends - starts


def finished(folder: Path) -> list[Row]:
    """A finished run by ranges; those without samples of both classes are left out.

    Raises ValueError where it is no run of click prediction.
    """
    trained = runs.load(folder)
    if not isinstance(trained.data, ClickData):
        raise ValueError(f"{folder} is a run of {trained.system.name}, which predicts no clicks")
    name = named(trained.system.name, trained.system.variant(trained.config))
    test, seed = trained.data.test, runs.plan_of(folder).seed
    return measured((trained.dataset, name, seed), test, predict(trained.module, test))


def measured(
    of: tuple[str, str, int], test: ClickSplit, logits: np.ndarray, ranges: Mapping[str, tuple[int, int]] = RANGES
) -> list[Row]:
    """Of logits [len(test)] in sample order."""
    before, rows = lengths(test), []
    for events, (least, most) in ranges.items():
        inside = (before >= least) & (before <= most)
        label, score = test.label[inside], logits[inside]
        found = defined({"auc": partial(auc, label, score), "gauc": partial(gauc, test.user[inside], label, score)})
        if len(found) == 2:
            rows.append(Row(*of, events, int(inside.sum()), found["auc"], found["gauc"]))
    return rows


def averaged(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Mean and deviation over the seeds."""
    found = []
    for key in dict.fromkeys((row.dataset, row.system, row.events) for row in rows):
        own = [row for row in rows if (row.dataset, row.system, row.events) == key]
        by_seed = {one: [getattr(row, one) for row in own] for one in ("auc", "gauc")}
        figures = {one: spread(values) for one, values in by_seed.items()}
        about = dict(zip(("dataset", "system", "events"), key, strict=True))
        seeds = [row.seed for row in own]
        found.append({**about, "samples": own[0].samples, "seeds": seeds, **figures, "by_seed": by_seed})
    return found

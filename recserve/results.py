"""Published results: mean and spread over seeds, committed beside the systems, printed in the tables of results."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import training
from training.checkpoint import write_json
from training.system import System

FOLDER = Path(training.__path__[0]) / "results"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a system reaches on the test part."""

    task: str
    dataset: str
    system: str
    variant: str
    """What the configuration chooses that others of the system do not; empty for the default."""
    seeds: list[int]
    test: dict[str, dict[str, float]]
    """Metric -> mean and std over the seeds."""
    config: dict[str, Any]
    versions: dict[str, str]
    recorded: str
    command: str
    """What trains it again."""
    runs: list[str]
    """<system>/<id of the run>, one for each seed."""
    by_seed: dict[str, list[float]] | None
    """Metric -> one value for each seed; None where only mean and spread were kept."""

    @property
    def name(self) -> str:
        """<system>[-variant]."""
        return named(self.system, self.variant)


def named(system: str, variant: str) -> str:
    """<system>[-variant]: a row of a table, and its file."""
    return f"{system}-{variant}" if variant else system


def spread(values: Sequence[float]) -> dict[str, float]:
    """`mean` and `std` over seeds: the sample standard deviation, 0 for one seed."""
    return {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else 0.0}


def cell(found: Mapping[str, float] | None) -> str:
    """What a table says of a `spread`; nothing where there is none."""
    return "" if found is None else f"{found['mean']:.4f} ± {found['std']:.4f}"


def record(result: Result) -> None:
    """Writes training/results/<task>/<data set>/<system>[-variant].json."""
    path = FOLDER / result.task / result.dataset / f"{result.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(result))


def read(task: str, dataset: str, name: str) -> Result | None:
    """The published result of a <system>[-variant] on a data set; None where nothing was recorded."""
    path = FOLDER / task / dataset / f"{name}.json"
    return Result(**json.loads(path.read_text())) if path.is_file() else None


def of_system(system: System) -> list[Result]:
    """All published results of a system, by data set and variant."""
    paths = sorted((FOLDER / system.task.name).glob("*/*.json"))
    found = [Result(**json.loads(path.read_text())) for path in paths]
    return [result for result in found if result.system == system.name]

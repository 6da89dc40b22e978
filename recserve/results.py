"""Published results: mean and spread over seeds, committed beside the systems, printed in docs/results.md."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import training
from training.checkpoint import write_json

FOLDER = Path(training.__path__[0]) / "results"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a system reaches on the test part."""

    system: str
    dataset: str
    seeds: list[int]
    test: dict[str, dict[str, float]]
    """Metric -> mean and std over the seeds."""
    config: dict[str, Any]
    versions: dict[str, str]
    recorded: str
    command: str
    """What trains it again."""
    runs: list[str]
    """<system>/<digest of the configuration>-s<seed>, one for each seed."""
    by_seed: dict[str, list[float]] | None
    """Metric -> one value for each seed; None where only mean and spread were kept."""


def record(result: Result) -> None:
    """Writes training/results/<data set>/<system>.json."""
    path = _path(result.system, result.dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(result))


def read(system: str, dataset: str) -> Result | None:
    """The published result of a system on a data set; None where nothing was recorded."""
    path = _path(system, dataset)
    return Result(**json.loads(path.read_text())) if path.is_file() else None


def datasets(system: str) -> list[str]:
    """The data sets on which the system has a published result, by the alphabet."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{system}.json"))


def _path(system: str, dataset: str) -> Path:
    return FOLDER / dataset / f"{system}.json"

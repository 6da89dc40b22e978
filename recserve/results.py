"""Published results: mean and spread over seeds, committed beside the systems, printed in the README's table."""

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


def record(result: Result) -> None:
    """Writes training/results/<system>.json."""
    FOLDER.mkdir(exist_ok=True)
    write_json(FOLDER / f"{result.system}.json", asdict(result))


def read(system: str) -> Result | None:
    """The published result of a system; None where nothing was recorded."""
    path = FOLDER / f"{system}.json"
    return Result(**json.loads(path.read_text())) if path.is_file() else None

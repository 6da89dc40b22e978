"""What knowledge tracing costs, as GitHub tables of committed results."""

import json
from pathlib import Path

from loadtest import RESULTS
from loadtest.published import table
from recserve.studies.tracing_cost.picture import LABELS
from recserve.studies.tracing_load.lesson import KEPT, REPORTED, SEQUENCE

_LOAD = {
    REPORTED: "an answer reported",
    KEPT: "a question to what is kept",
    SEQUENCE: "a question that sends all answers",
}


def markdown(folder: Path = RESULTS) -> str:
    """CPU of an answer and of a question by the answers before, and many students at once by theirs."""
    return "\n\n".join("\n".join(one) for one in (_cost(folder), _load(folder)))


def _cost(folder: Path) -> list[str]:
    found = json.loads((folder / "tracing-cost.json").read_text())
    lengths = sorted({row["answers"] for row in found["rows"]})
    cells = {(row["model"], row["way"], row["answers"]): f"{row['cpu_ms']:.3f}" for row in found["rows"]}
    header = ["CPU ms, one thread", "", *(f"{one:,} answers" for one in lengths), "longest of shortest"]
    rows = [
        [model, label, *(cells[model, way, one] for one in lengths), f"{ratios[way]:.2f}"]
        for model, ratios in found["longest_of_shortest"].items()
        for way, label in LABELS.items()
    ]
    return table(header, rows)


def _load(folder: Path) -> list[str]:
    found = json.loads((folder / "tracing-load.json").read_text())
    header = [f"p50 / p99 ms, {found['students']} students at once", *_LOAD.values()]
    rows = [
        [f"{row['answers']:,} answers each", *(f"{row[way]['p50_ms']:.1f} / {row[way]['p99_ms']:.1f}" for way in _LOAD)]
        for row in found["rows"]
    ]
    return table(header, rows)

"""Tables of the committed results of DMAE's studies."""

import json
from pathlib import Path
from typing import Any

from loadtest import RESULTS
from loadtest.published import table

_FIGURES = {
    "all": "AUC",
    "cold": "AUC, cold items",
    "unknown": "AUC, target's id unknown",
    "drop": "lost without the id",
}


def markdown(folder: Path = RESULTS) -> str:
    """Three GitHub tables: planted clicks, finished runs, and what the graphs cost."""
    names = ("planted", "cold", "cost")
    planted, cold, cost = (json.loads((folder / f"dmae-{name}.json").read_text()) for name in names)
    tables = (
        _cold("content drives clicks", planted["rows"]),
        _cold(f"{cold['dataset']}, {cold['cold_rows']:,} cold rows", cold["rows"]),
        _cost(cost),
    )
    return "\n\n".join("\n".join(one) for one in tables)


def _cold(title: str, means: list[dict[str, Any]]) -> list[str]:
    rows = [
        [
            f"{one['system']}, {len(one['seeds'])} seeds",
            *(f"{one[figure]['mean']:.4f} ± {one[figure]['std']:.4f}" for figure in _FIGURES),
        ]
        for one in means
    ]
    return table([title, *_FIGURES.values()], rows)


def _cost(result: dict[str, Any]) -> list[str]:
    cells = {(row["model"], row["candidates"]): f"{row['p50_ms']:.2f} ({row['ratio']:.2f})" for row in result["rows"]}
    models, counts = (list(dict.fromkeys(places)) for places in zip(*cells, strict=True))
    header = [f"p50 ms (of din), {result['events']} events", *(f"{count:,} candidates" for count in counts)]
    return table(header, [[model, *(cells[model, count] for count in counts)] for model in models])

"""How the rows of the study are shown, on a terminal and on a page."""

import json
from pathlib import Path
from typing import Any

from loadtest import RESULTS
from loadtest.published import table

COLUMNS = ("graph", "elements", "nodes", "us", "products", "MFLOP", "kB", "floor, us", "of the floor", "most time in")


def cells(row: dict[str, Any]) -> list[str]:
    """A row, by `COLUMNS`."""
    return [
        row["graph"],
        "" if row["elements"] is None else f"{row['elements']:,}",
        f"{row['nodes']:,}",
        f"{row['us']:,.0f}",
        f"{row['products']:.0%}",
        f"{row['mflop']:,.2f}",
        f"{row['kilobytes']:,.0f}",
        f"{row['floor_us']:,.1f}",
        f"{row['us'] / row['floor_us']:,.1f} x",
        ", ".join(row["slowest"]),
    ]


def markdown(folder: Path = RESULTS) -> str:
    """A GitHub table of the committed result."""
    rows = json.loads((folder / "graphs.json").read_text())["rows"]
    return "\n".join(table(list(COLUMNS), [cells(row) for row in rows]))

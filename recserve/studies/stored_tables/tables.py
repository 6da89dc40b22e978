"""The page's tables of a committed result."""

import json
from pathlib import Path

from loadtest import RESULTS
from loadtest.published import table
from recserve.results import spread


def markdown(folder: Path = RESULTS) -> str:
    """Two GitHub tables: quality and bytes by the form of the tables, and look-ups."""
    result = json.loads((folder / "quantised-tables.json").read_text())
    rows, looked = result["rows"], result["look_ups"]
    whole = rows[0]
    header = [f"{result['system']} on {result['dataset']}", "AUC", "GAUC", "of float32", "graph, bytes", "its tables"]
    quality = []
    for row in rows:
        auc, gauc = (spread(row["by_seed"][name])["mean"] for name in ("auc", "gauc"))
        change = f"{auc - spread(whole['by_seed']['auc'])['mean']:+.5f}"
        sizes = [f"{row[name]:,}" if name in row else "" for name in ("file_bytes", "table_bytes")]
        quality.append([row["form"], f"{auc:.5f}", f"{gauc:.5f}", change, *sizes])
    title = f"{looked['ids']:,} look-ups, {looked['rows']:,} rows of {looked['width']}"
    timings = [[one["form"], f"{one['of_float32']:g}"] for one in looked["forms"]]
    return "\n".join([*table(header, quality), "", *table([title, "time, of float32"], timings)])

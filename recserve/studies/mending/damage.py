"""AUC against the number of damaged fields, from recorded results; the table of it is that of MATT's paths."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from recserve import results

TASK = "click"
WAYS = {
    "base: DGenCTR": ("sgctr", "base_"),
    "SGCTR, 1 round": ("sgctr", ""),
    "SGCTR, 2 rounds": ("sgctr-2-rounds", ""),
    "MATT, 8 paths": ("matt-dgenctr", ""),
}
_COLOURS = ("#777777", "#0b6e99", "#6a9f3c", "#b3261e")
FIELDS = (0, 1, 2, 3)


def recorded(dataset: str) -> dict[str, dict[str, list[float]]]:
    """Way -> seeds, then mean, std and, one list for each seed, values of AUC with 0 to 3 damaged fields.

    Raises ValueError where nothing was recorded.
    """
    found = {}
    for way, (name, prefix) in WAYS.items():
        if result := results.read(TASK, dataset, name):
            metrics = [f"corrupt{count}_{prefix}auc" if count else f"{prefix}auc" for count in FIELDS]
            found[way] = {"seeds": result.seeds}
            found[way] |= {one: [result.test[metric][one] for metric in metrics] for one in ("mean", "std")}
            if result.by_seed:
                found[way]["by_seed"] = [list(one) for one in zip(*map(result.by_seed.get, metrics), strict=True)]
    if not found:
        raise ValueError(f"nothing was recorded on {dataset}; recserve train sgctr --record does")
    return found


def draw(found: Mapping[str, Mapping[str, Any]], dataset: str, path: Path) -> None:
    """One line for each way, with the deviation over its seeds; the suffix says the format."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    for place, ((way, one), colour) in enumerate(zip(found.items(), _COLOURS, strict=False)):
        # Beside each other, so that no bar hides another.
        fields = np.array(FIELDS) + 0.06 * (place - (len(found) - 1) / 2)
        label = f"{way} ({len(one['seeds'])} seeds)"
        axes.errorbar(
            fields, one["mean"], yerr=one["std"], fmt="o-", markersize=4, capsize=3, color=colour, label=label
        )
    axes.set_xticks(FIELDS)
    axes.set_xlabel("damaged fields of each test row")
    axes.set_ylabel("AUC, mean and standard deviation over seeds")
    axes.set_title(f"The same rows with the same damage, {dataset}", fontsize=12, fontweight="bold")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=120)

"""AUC against the number of damaged fields, from recorded results; the table of it is that of MATT's paths."""

from collections.abc import Mapping
from pathlib import Path

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


def recorded(dataset: str) -> dict[str, list[float]]:
    """Way -> mean AUC with 0 to 3 damaged fields. Raises ValueError where nothing was recorded."""
    found = {}
    for way, (name, prefix) in WAYS.items():
        if result := results.read(TASK, dataset, name):
            damaged = (f"corrupt{count}_{prefix}auc" if count else f"{prefix}auc" for count in FIELDS)
            found[way] = [result.test[metric]["mean"] for metric in damaged]
    if not found:
        raise ValueError(f"nothing was recorded on {dataset}; recserve train sgctr --record does")
    return found


def draw(found: Mapping[str, list[float]], dataset: str, path: Path) -> None:
    """One line for each way; the suffix says the format."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    for (way, values), colour in zip(found.items(), _COLOURS, strict=False):
        axes.plot(FIELDS, values, "o-", markersize=4, color=colour, label=way)
    axes.set_xticks(FIELDS)
    axes.set_xlabel("damaged fields of each test row")
    axes.set_ylabel("AUC")
    axes.set_title(f"The same rows with the same damage, {dataset}, 3 seeds", fontsize=12, fontweight="bold")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=120)

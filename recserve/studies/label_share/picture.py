"""Picture of the quality against the share of labels."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from recserve.results import Result

_COLOURS = ("#0b6e99", "#6a9f3c", "#c77f1a", "#b3261e")


def draw(found: Mapping[str, Mapping[float, Result]], dataset: str, path: Path) -> None:
    """AUC with its spread over seeds; the suffix says the format."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    for (way, by_share), colour in zip(found.items(), _COLOURS, strict=True):
        if by_share:
            auc = [one.test["auc"] for one in by_share.values()]
            axes.errorbar(
                [100 * share for share in by_share],
                [one["mean"] for one in auc],
                yerr=[one["std"] for one in auc],
                fmt="o-",
                markersize=4,
                capsize=3,
                color=colour,
                label=way,
            )
    axes.set_xscale("log")
    axes.set_xticks([1, 5, 10, 100], ["1", "5", "10", "100"])
    axes.set_xlabel("training rows with a label, %; pre-training sees all rows")
    axes.set_ylabel("AUC on the test part")
    axes.set_title(f"DGenCTR on {dataset}, 3 seeds", fontsize=12, fontweight="bold")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=120)

"""Picture of Recall@N by N, each loss over the softmax's."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from recserve.studies.recall_curves.points import TARGETS, Recorded

_COLOURS = (
    "#b3261e",
    "#0b6e99",
    "#6a9f3c",
    "#c77f1a",
    "#7a5195",
    "#2f4b7c",
    "#888888",
    "#a05d56",
    "#1b9e9e",
    "#d45087",
)


def draw(found: Recorded, reference: str, dataset: str, path: Path) -> None:
    """Means over seeds divided by the reference's; the suffix says the format."""
    figure = Figure(figsize=(8.6, 4.8), layout="constrained")
    axes = figure.subplots()
    base = _means(found, reference)
    others = [loss for loss in found if loss != reference]
    for number, loss in enumerate(others):
        style = "s--" if loss.startswith("linear") else "o-"
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(TARGETS, _means(found, loss) / base, style, markersize=4, color=colour, label=loss)
    axes.axhline(1.0, color="#444444", linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks(TARGETS, [str(target) for target in TARGETS])
    axes.minorticks_off()
    axes.set_xlabel("N, items in the list")
    axes.set_ylabel(f"Recall@N over that of the\n{reference}")
    axes.set_title(f"CROLoss's family on {dataset}, means over seeds", fontsize=12, fontweight="bold")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=120)


def _means(found: Recorded, loss: str) -> np.ndarray:
    return np.array([found[loss].test[f"recall{target}"]["mean"] for target in TARGETS])

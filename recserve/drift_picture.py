"""Picture of drift: shares of scores and of sizes in the bins of a release's reference, then and now."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from export.log_drift import Compared, Report

_THEN, _NOW = "#9aa5b1", "#0b6e99"
_WIDTH = 0.4
"""Of a bar, where bins are 1 apart."""


def draw(report: Report, path: Path) -> None:
    """Into a file whose suffix says the format."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _panel(left, report.scores, "score at most")
    _panel(right, report.sizes, "elements of a request at most")
    left.set_ylabel("share", fontsize=9)
    figure.suptitle(f"{report.model} {report.version}: {report.requests:,} logged requests", fontsize=10)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=2, frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)


def _panel(axes: Axes, one: Compared, label: str) -> None:
    places = np.arange(len(one.expected))
    axes.bar(places - _WIDTH / 2, one.expected, _WIDTH, color=_THEN, label="reference")
    axes.bar(places + _WIDTH / 2, one.actual, _WIDTH, color=_NOW, label="log")
    axes.set_xticks(places, [*(f"{edge:.3g}" for edge in one.edges), "more"], rotation=45, fontsize=7)
    axes.set_xlabel(label, fontsize=9)
    axes.set_title(f"stability index {one.drift:.3f}", loc="left", fontsize=9)
    axes.tick_params(axis="y", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)

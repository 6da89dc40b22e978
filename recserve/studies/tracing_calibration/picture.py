"""Reliability of each system: a panel each, with the spread over seeds."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recserve.studies.tracing_calibration.points import Curve

_LINE, _EXACT = "#0b6e99", "#8a8a8a"
_COLUMNS = 4


def draw(found: Sequence[Curve], dataset: str, path: Path) -> None:
    """Share of right answers by predicted probability; the suffix says the format."""
    columns = min(_COLUMNS, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(2.5 * max(columns, 2), 2.6 * rows + 0.7), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel().tolist()
    for axes, curve in zip(panels, found, strict=False):
        _panel(axes, curve)
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    for axes in panels[: len(found)][-columns:]:
        axes.tick_params(labelbottom=True)
    figure.suptitle(f"tenths of the test answers of {dataset} by predicted probability", fontsize=11, fontweight="bold")
    figure.supxlabel("predicted probability of a right answer", fontsize=9)
    figure.supylabel("share that was right", fontsize=9)
    figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)


def _panel(axes: Axes, curve: Curve) -> None:
    """The seeds' mean, and bars from the least to the most of them."""
    axes.plot([0, 1], [0, 1], color=_EXACT, linewidth=0.8, linestyle="--")
    right, predicted = curve.right.mean(axis=0), curve.predicted.mean(axis=0)
    spread = [right - curve.right.min(axis=0), curve.right.max(axis=0) - right]
    axes.errorbar(predicted, right, yerr=spread, fmt="o-", markersize=3, linewidth=1.2, capsize=2, color=_LINE)
    seeds = len(curve.right)
    counted = "1 seed" if seeds == 1 else f"{seeds} seeds"
    axes.set_title(f"{curve.result.name}, {counted}\nerror {curve.error['mean']:.4f}", loc="left", fontsize=8)
    axes.set_aspect("equal")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)

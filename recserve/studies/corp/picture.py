"""Picture of pruning against theta."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recserve.studies.corp.theta import Point

_MAIN, _SECOND = "#0b6e99", "#b3261e"


def draw(points: Sequence[Point], title: str, path: Path) -> None:
    """Pruned share, quality and latency side by side; the suffix says the format."""
    figure = Figure(figsize=(13.0, 4.2), layout="constrained")
    figure.suptitle(f"Pruning by consistency (CORP): {title}", fontsize=13, fontweight="bold")
    shares, quality, latency = figure.subplots(1, 3)
    _line(
        shares, points, {"pruned share of checked paths": "pruned_share", "consistency of the best path": "consistency"}
    )
    shares.set_ylim(-0.03, 1.03)
    _line(quality, points, {"recall@10": "recall10", "NDCG@10": "ndcg10"})
    _line(latency, points, {"p50 of one request, ms": "p50_ms"})
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _line(axes: Axes, points: Sequence[Point], series: dict[str, str]) -> None:
    for (label, name), colour in zip(series.items(), (_MAIN, _SECOND), strict=False):
        axes.plot(
            [point.theta for point in points],
            [getattr(point, name) for point in points],
            "o-",
            color=colour,
            label=label,
            markersize=4,
        )
    axes.set_ylim(0, 1.08 * max(getattr(point, name) for point in points for name in series.values()) or 1.0)
    axes.set_xlabel("theta: share of adjacent steps that must agree")
    axes.legend(frameon=False, loc="best")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)

"""Bars of a result: one call beside two."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

LABELS = {
    "p50_ms": "a request, p50",
    "server_cpu_ms": "CPU of the server",
    "client_cpu_ms": "CPU of the client",
}
_COLOURS = {"one call": "#0b6e99", "two calls": "#b3261e"}


def draw(result: dict[str, Any], path: Path) -> None:
    """The suffix says the format."""
    figure = Figure(figsize=(7.6, 3.4), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(result["rows"]):
        heights = [number + 0.38 * (place - 0.5) for number in range(len(LABELS))]
        bars = axes.barh(heights, [row[name] for name in LABELS], 0.34, color=_COLOURS[row["way"]], label=row["way"])
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8.5)
    axes.set_yticks(range(len(LABELS)), list(LABELS.values()))
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds of a request")
    axes.margins(x=0.12)
    axes.set_title(
        f"{result['retrieved']} items retrieved and ranked, the best {result['listed']} listed: {result['dataset']}",
        loc="left",
        fontsize=10.5,
        fontweight="bold",
    )
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)

"""The log-log picture of a result."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

LABELS = {
    "din": "DIN, from the history",
    "lrea": "LREA's scorer",
    "chime": "CHIME's scorer",
    "build": "CHIME's state, from the history",
    "observe": "CHIME's state, one more event",
}
_COLOURS = {"din": "#b3261e", "lrea": "#0b6e99", "chime": "#2a9d5c", "build": "#6a4c93", "observe": "#c77700"}


def draw(result: dict[str, Any], path: Path) -> None:
    """Writes the picture; the suffix says the format."""
    figure = Figure(figsize=(8.5, 5.2), layout="constrained")
    axes = figure.add_subplot()
    lengths = sorted({row["length"] for row in result["rows"]})
    for way, label in LABELS.items():
        points = [row["p50_ms"] for row in result["rows"] if row["way"] == way]
        axes.plot(lengths, points, "--" if way in ("build", "observe") else "-", color=_COLOURS[way], marker="o")
        axes.annotate(f"  {label}", (lengths[-1], points[-1]), color=_COLOURS[way], fontsize=9, va="center")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(lengths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_xlim(lengths[0] * 0.85, lengths[-1] * 8)
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("events in the user's history")
    axes.set_ylabel(f"p50 ms: scores of {result['candidates']:,} candidates, or one state")
    axes.set_title("Cost by length of history, ONNX Runtime in one process", loc="left", fontsize=11, fontweight="bold")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)

"""The log-log plot of a result."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

LABELS = {
    "din": "DIN-style attention",
    "softmax": "softmax attention",
    "unabsorbed": "LREA from the history",
    "absorbed": "LREA scorer, Kc and Vc stored",
    "fully_absorbed": "LREA scorer, M stored",
    "ranker": "LREA, user id in, scores out",
}
_COLOURS = {
    "din": "#b3261e",
    "softmax": "#c77700",
    "unabsorbed": "#6a4c93",
    "absorbed": "#0b6e99",
    "fully_absorbed": "#2a9d5c",
    "ranker": "#222222",
}
_LINES: dict[str, Literal["-", "--"]] = {"direct": "-", "server": "--"}
_MARKERS = {"direct": "o", "server": "s"}
_WHERE = {"direct": "ONNX Runtime in process", "server": "through tritonserver"}
_ROOM = 1.42
"""Least ratio of the heights of two labels, so that they do not overlap."""


def draw(result: dict[str, Any], path: Path) -> None:
    """Writes the plot; the suffix says the format."""
    figure = Figure(figsize=(10.5, 6.2), layout="constrained")
    axes = figure.add_subplot()
    series = _series(result["rows"])
    for (way, where), points in series.items():
        lengths, medians = zip(*points, strict=True)
        line, marker = _LINES[where], _MARKERS[where]
        axes.plot(lengths, medians, line, color=_COLOURS[way], marker=marker, markersize=4.5, linewidth=1.8)
    _axes(axes, result)
    _labels(axes, series)
    _legend(axes)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)


def _series(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """(way, where) -> (events, p50 in milliseconds) in ascending order."""
    series: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row in rows:
        series.setdefault((row["way"], row["where"]), []).append((row["length"], row["p50_ms"]))
    return {key: sorted(points) for key, points in series.items()}


def _axes(axes: Axes, result: dict[str, Any]) -> None:
    lengths = sorted({row["length"] for row in result["rows"]})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(lengths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_xlim(min(lengths) * 0.85, max(lengths) * 1.08)
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("events in the user's history")
    axes.set_ylabel(f"p50, milliseconds for {result['candidates']:,} candidates")
    sizes, cpu = result["sizes"], result["hardware"]["cpu"]
    shape = f"width {sizes['dim']}, rank {sizes['rank']}, network {' and '.join(map(str, sizes['hidden']))}"
    axes.set_title(
        f"Latency by length of history: {shape}; one core of {cpu}", loc="left", fontsize=11, fontweight="bold"
    )


def _labels(axes: Axes, series: dict[tuple[str, str], list[tuple[int, float]]]) -> None:
    """Names at the right ends of the lines that reach it, moved apart from the bottom up."""
    longest = max(points[-1][0] for points in series.values())
    ends = {key: points[-1][1] for key, points in series.items() if points[-1][0] == longest}
    height = 0.0
    for (way, where), end in sorted(ends.items(), key=lambda entry: entry[1]):
        height = max(end, height * _ROOM)
        line = {"arrowstyle": "-", "color": _COLOURS[way], "linewidth": 0.6, "relpos": (0, 0.5), "shrinkB": 3}
        axes.annotate(
            f"{end:,.{0 if end >= 100 else 2}f} ms  {LABELS[way]}{', served' if where == 'server' else ''}",
            (longest, end),
            xytext=(longest * 1.3, height),
            color=_COLOURS[way],
            fontsize=9,
            va="center",
            annotation_clip=False,
            arrowprops=line,
        )


def _legend(axes: Axes) -> None:
    handles = [
        Line2D([], [], color="#555555", markersize=4.5, label=label, linestyle=_LINES[where], marker=_MARKERS[where])
        for where, label in _WHERE.items()
    ]
    axes.legend(handles=handles, loc="upper left", frameon=False, fontsize=9)

"""Latency against the number of answers."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from recserve.studies.tracing_load.lesson import KEPT, REPORTED, SEQUENCE

_WORDS = {
    REPORTED: "an answer is reported",
    KEPT: "asked by student, state kept",
    SEQUENCE: "asked with all answers sent",
}
_COLOURS = {REPORTED: "#8a8a8a", KEPT: "#0b6e99", SEQUENCE: "#b3261e"}


def draw(result: dict[str, Any], path: Path) -> None:
    """p50 as lines, p99 dashed; the suffix says the format."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    counts = [row["answers"] for row in result["rows"]]
    for way, words in _WORDS.items():
        for name, style in (("p50_ms", "o-"), ("p99_ms", "o--")):
            values = [row[way][name] for row in result["rows"]]
            label = f"{words}, p50 and p99 (dashed)" if name == "p50_ms" else None
            axes.plot(counts, values, style, markersize=4, linewidth=1.3, color=_COLOURS[way], label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(counts, [f"{one:,}" for one in counts])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("answers of each student before")
    axes.set_ylabel("milliseconds of a request")
    title = f"{result['model']} on {result['dataset']}: {result['students']} students answer at once"
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold")
    figure.legend(loc="outside lower center", frameon=False, fontsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)

"""The picture of a result: a ranking before and after, the wait for an answer that knows, and the states."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from recserve.studies.freshness.ranking import SHOWN
from recserve.studies.freshness.states import OUTCOMES

_COLOURS = {"hit": "#0b6e99", "stale": "#c77700", "miss": "#b3261e", "push": "#0b6e99", "stream": "#6a4c93"}
_GREY = "#9a9a9a"
_LONGEST = 30


def draw(result: dict[str, Any], path: Path) -> None:
    """Writes it; the suffix says the format."""
    figure = Figure(figsize=(15.0, 5.4), layout="constrained")
    figure.suptitle(
        f"{result['model']} on {result['dataset']}: what a user has just done, in the next answer",
        fontsize=13,
        fontweight="bold",
    )
    places, waits, states = figure.subplots(1, 3, width_ratios=(1.25, 1, 1.25))
    _slopes(places, result["ranking"])
    _waits(waits, result["latency"])
    _states(states, result["states"])
    figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)


def _slopes(axes: Axes, ranking: dict[str, Any]) -> None:
    """The best items before and after, one line each."""
    low = SHOWN + 1.2
    for one in ranking["best"]:
        left, right, title = one["before"], one["after"], _short(one["title"])
        is_new = left > SHOWN
        colour = _COLOURS["stale"] if is_new else _COLOURS["hit"] if right <= SHOWN else _GREY
        axes.plot([0, 1], [min(left, low), min(right, low)], "o-", color=colour, linewidth=1.6, markersize=4)
        if not is_new:
            axes.text(-0.05, left, f"{title}  {left}", ha="right", va="center", fontsize=8)
        if right <= SHOWN:
            was = f"  (was {left})" if is_new else ""
            axes.text(1.05, right, f"{right}  {title}{was}", va="center", fontsize=8)
    axes.set_ylim(low + 0.5, 0.4)
    axes.set_xlim(-1.6, 2.7)
    axes.set_xticks([0, 1], ["before", f"after {ranking['events']} events"])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    same = f"{ranking['bit_for_bit']} of {ranking['answers']} answers equal the recomputation bit for bit"
    axes.set_title(f"best {SHOWN} of user {ranking['user']}\n{same}", loc="left", fontsize=10)


def _waits(axes: Axes, latency: dict[str, Any]) -> None:
    """Share of the events that an answer knows, by time."""
    for name, label in (("push", "pushed"), ("stream", "through a stream")):
        taken = np.array(latency[name]["taken_ms"])
        share = np.arange(1, len(taken) + 1) / len(taken)
        p99 = latency[name]["p99_ms"]
        axes.plot(taken, share, color=_COLOURS[name], linewidth=1.8, label=f"{label}: p99 {p99:.0f} ms")
    axes.axvline(200, color=_GREY, linewidth=1, linestyle="--")
    axes.text(200, 0.02, " 200", color=_GREY, fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds from the event to the first answer that knows it")
    axes.set_ylabel("share of events")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_ylim(0, 1.18)
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_title(f"beside {latency['rate']:g} questions a second", loc="left", fontsize=10)


def _states(axes: Axes, states: dict[str, Any]) -> None:
    """Reads of the store of states, by outcome, over time."""
    seconds = [one["second"] for one in states["samples"]]
    series = [[one[name] for one in states["samples"]] for name in OUTCOMES]
    axes.stackplot(seconds, series, labels=OUTCOMES, colors=[_COLOURS[name] for name in OUTCOMES], alpha=0.85)
    top = 1.25 * max(sum(values) for values in zip(*series, strict=True))
    for one in states["marks"]:
        axes.axvline(one["second"], color="#333333", linewidth=0.8)
        axes.text(one["second"], 0.98 * top, f" {one['what']}", fontsize=7, va="top")
    axes.set_ylim(0, top)
    axes.set_xlim(0, seconds[-1])
    axes.set_xlabel("seconds")
    axes.set_ylabel("reads of users' states a second")
    axes.legend(frameon=True, loc="lower right", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("states over events and releases", loc="left", fontsize=10)


def _short(title: str) -> str:
    return title if len(title) <= _LONGEST else f"{title[: _LONGEST - 1]}…"

"""The report of a load test: one HTML file that needs nothing else, with the plots inline as SVG."""

import io
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.typing import RcKeyType

from loadtest.gate import Result, require_comparable
from loadtest.report_page import Plot, label, number, page

Run = Mapping[str, Any]

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
"""Okabe and Ito's, which colour-blind readers tell apart, without the yellow, which white paper swallows."""
_BLUE, _ORANGE, _GREEN, _RED, _, _SKY = _COLOURS
_BLACK, _GREY = "#000000", "#8a8a8a"
"""The floor; earlier runs that have no counterpart."""
_STYLES = ("-", "-.", ":")
"""The next one with each round of the colours; dashed lines are the earlier result."""
_EARLIER = (0, (5, 2.5))
_PARTS = {"queue_us": _ORANGE, "input_us": _SKY, "infer_us": _BLUE, "output_us": _GREEN}
_LOOKS: dict[RcKeyType, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e2e2e2",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "recserve",
    "text.parse_math": False,
}
_NO_ANSWER = "No run of this result has a right answer."
_WIDTH = 12.0
"""Inches: the width of the page's text."""
_COLUMNS = 4
"""Runs side by side."""
_OUTLIER = 5.0
"""Bars longer than this many times the usual are cut, so that one overloaded run does not flatten the others."""


def write_report(result: Result, path: Path, against: Result | None = None) -> None:
    """Writes the page of one result, with an earlier one beside it where given.

    Raises:
        ValueError: the two results cannot be compared.
    """
    if against is not None:
        require_comparable(against, result)
    with mpl.rc_context(_LOOKS):
        plots = [_distribution(result, against), _over_time(result), _sweep(result, against), _split(result)]
    path.write_text(page(result, plots, against), encoding="utf-8")


def _distribution(result: Result, against: Result | None) -> Plot:
    title, now, earlier = "Latency distribution", _answered(result), _answered(against) if against else []
    modes = list(dict.fromkeys(run["mode"] for run in [*now, *earlier]))
    if not modes:
        return Plot(title, _NO_ANSWER, "")
    figure = Figure(figsize=(_WIDTH, 4.6), layout="constrained")
    panels = figure.subplots(1, len(modes), squeeze=False, sharex=True, sharey=True)[0]
    for axes, mode in zip(panels, modes, strict=True):
        _curves(axes, *([run for run in runs if run["mode"] == mode] for runs in (now, earlier)))
        _floor_curve(axes, result["floor"])
        axes.set_title(f"{mode} loop", loc="left")
        axes.set_xlabel("latency (ms)")
        axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.16), ncols=3)
    _log_scale(panels[0].xaxis, *panels[0].get_xlim())
    panels[0].set(ylabel="requests answered within (%)", ylim=(0, 101), yticks=(0, 25, 50, 75, 90, 100))
    note = "Share of right answers within a time, beside the floor's p50, p95 and p99."
    return Plot(title, note + (" Dashed: the earlier result." if against else ""), _svg(figure, title))


def _answered(result: Result) -> list[Run]:
    """The runs with right answers."""
    return [run for run in result["runs"] if run["p50_ms"] is not None]


def _curves(axes: Axes, now: Sequence[Run], earlier: Sequence[Run]) -> None:
    """An earlier run has its counterpart's colour, and none of its own where there is no counterpart."""
    looks = {}
    for position, run in enumerate(now):
        colour, style = looks.setdefault(label(run), _look(position))
        _curve(axes, run, color=colour, linestyle=style, linewidth=1.7, label=label(run))
    other = "earlier, without counterpart"
    for run in earlier:
        colour, _ = looks.get(label(run), (_GREY, ""))
        name = other if colour == _GREY else None
        _curve(axes, run, color=colour, linestyle=_EARLIER, linewidth=1.1, label=name)
        other = other if name is None else None


def _curve(axes: Axes, run: Run, **look: Any) -> None:
    milliseconds, shares = zip(*run["cdf"], strict=True)
    axes.semilogx(milliseconds, [100 * share for share in shares], **look)


def _look(position: int) -> tuple[str, str]:
    """Colour and line style of the n-th run."""
    turn, colour = divmod(position, len(_COLOURS))
    return _COLOURS[colour], _STYLES[turn % len(_STYLES)]


def _floor_curve(axes: Axes, floor: Mapping[str, Any]) -> None:
    times = [floor["p50_ms"], floor["p95_ms"], floor["p99_ms"]]
    axes.semilogx(times, (50, 95, 99), color=_BLACK, linewidth=2.2, marker="o", markersize=4, label="floor")


def _over_time(result: Result) -> Plot:
    title, runs = "Latency over time", _answered(result)
    if not runs:
        return Plot(title, _NO_ANSWER, "")
    figure, panels = _grid(len(runs), 1.75)
    for axes, run in zip(panels, runs, strict=True):
        seconds = [one["second"] for one in run["over_time"]]
        marker = "" if len(seconds) > 60 else "."
        for name, colour, style in (("p99_ms", _RED, "-."), ("p50_ms", _BLUE, "-")):
            axes.semilogy(seconds, _values(run["over_time"], name), color=colour, linestyle=style, marker=marker)
        axes.set_title(label(run), loc="left")
    _log_scale(panels[0].yaxis, *panels[0].get_ylim())
    panels[0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
    figure.supxlabel("second of the run", fontsize="medium")
    figure.supylabel("latency (ms)", fontsize="medium")
    keys = [Line2D([], [], color=_BLUE, linestyle="-", marker=".", label="p50")]
    keys += [Line2D([], [], color=_RED, linestyle="-.", marker=".", label="p99")]
    figure.legend(handles=keys, loc="outside upper right", ncols=2)
    return Plot(title, "Of the requests of each second; a gap is a second without a right answer.", _svg(figure, title))


def _grid(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """One small panel per run, on the same scales."""
    columns = min(count, _COLUMNS)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(_WIDTH, max(2.6, 0.7 + (height + 0.2) * rows)), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel().tolist()
    for axes in panels[count:]:
        axes.remove()
    for axes in panels[:count]:
        axes.tick_params(labelbottom=True)
    return figure, panels[:count]


def _sweep(result: Result, against: Result | None) -> Plot:
    title, runs, sweep = "Rate sweep", _open_runs(result), result.get("sweep")
    if not runs:
        return Plot(title, "This result has no open-loop run with a right answer.", "")
    figure = Figure(figsize=(_WIDTH, 4.2), layout="constrained")
    axes = figure.subplots()
    _percentiles(axes, runs, "-", "")
    if earlier := _open_runs(against) if against else []:
        _percentiles(axes, earlier, _EARLIER, " (earlier)")
    if broken := [run for run in runs if run["errors"] or run["wrong"]]:
        axes.plot(*_points(broken, "p99_ms"), "x", color=_BLACK, markersize=9, label="with errors or wrong answers")
    if sweep:
        budget, rate = sweep["p99_budget_ms"], sweep["highest_rate"]
        axes.axhline(budget, color=_BLACK, linewidth=1.1, linestyle=":", label=f"p99 budget: {number(budget)} ms")
        if rate is not None:
            kept = f"highest rate within the budget: {number(rate)}/s"
            axes.axvline(rate, color=_GREEN, linewidth=1.6, linestyle="-.", label=kept)
    _log_scale(axes.yaxis, *axes.get_ylim())
    axes.set(xlabel="offered rate (requests/s)", ylabel="latency (ms)")
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.14), ncols=5)
    return Plot(title, "Poisson arrivals; latency from the intended send time, of right answers.", _svg(figure, title))


def _open_runs(result: Result) -> list[Run]:
    """Those with right answers, by rate."""
    return sorted((run for run in _answered(result) if run["mode"] == "open"), key=lambda run: run["offered"])


def _percentiles(axes: Axes, runs: Sequence[Run], style: Any, suffix: str) -> None:
    for name, colour, marker in (("p99", _RED, "^"), ("p50", _BLUE, "o")):
        points = _points(runs, f"{name}_ms")
        axes.semilogy(*points, color=colour, linestyle=style, marker=marker, markersize=5, label=f"{name}{suffix}")


def _points(runs: Sequence[Run], name: str) -> tuple[list[float], list[float]]:
    return [run["offered"] for run in runs], _values(runs, name)


def _split(result: Result) -> Plot:
    title, runs = "Where the server spends the time", [run for run in result["runs"] if run["server"]]
    if not runs:
        return Plot(title, "The server's statistics are not in this result.", "")
    models = list(dict.fromkeys(name for run in runs for name in run["server"]))
    floor_us = 1000 * result["floor"]["p50_ms"]
    longest = _longest_bar(runs, floor_us)
    figure, panels = _grid(len(runs), 0.55 + 0.24 * len(models))
    for axes, run in zip(panels, runs, strict=True):
        for row, model in enumerate(models):
            _bar(axes, row, run["server"].get(model), longest)
        axes.axvline(floor_us, color=_BLACK, linewidth=1.4)
        axes.set_title(label(run), loc="left")
        axes.grid(axis="y", visible=False)
    panels[0].set(xlim=(0, 1.45 * longest), ylim=(len(models) - 0.4, -0.6))
    panels[0].set_yticks(range(len(models)), [_short(name) for name in models])
    panels[0].xaxis.set_major_locator(MaxNLocator(3))
    panels[0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    figure.supxlabel("mean per request (microseconds)", fontsize="medium")
    keys: list[Any] = [Patch(color=colour, label=name.removesuffix("_us")) for name, colour in _PARTS.items()]
    keys.append(Line2D([], [], color=_BLACK, linewidth=1.4, label=f"floor p50: {number(floor_us)} microseconds"))
    figure.legend(handles=keys, loc="outside upper right", ncols=len(keys))
    note = (
        "Mean per request of a model, from the server's statistics, warm-up included; the number is the sum. "
        "Of an ensemble of several processes the bar holds what its steps computed, without their queues."
    )
    return Plot(title, note, _svg(figure, title))


def _longest_bar(runs: Sequence[Run], floor_us: float) -> float:
    """Microseconds at which bars are cut."""
    longest = [max(sum(_parts(model)) for model in run["server"].values()) for run in runs]
    usual = max(floor_us, statistics.median(longest))
    return max([floor_us, *(length for length in longest if length <= _OUTLIER * usual)])


def _bar(axes: Axes, row: int, model: Mapping[str, Any] | None, longest: float) -> None:
    start, text = 0.0, "no request"
    if model is not None:
        for length, colour in zip(_parts(model), _PARTS.values(), strict=True):
            end = min(start + length, longest)
            axes.barh(row, end - start, left=start, height=0.7, color=colour)
            start = end
        total = sum(_parts(model))
        text = f"{number(round(total))}{' (cut)' if total > longest else ''}"
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
    axes.annotate(text, (start, row), (4, 0), textcoords="offset points", va="center", fontsize=8, bbox=paper)


def _parts(model: Mapping[str, Any]) -> list[float]:
    """Microseconds of queue, input, infer, output."""
    return [model[name] for name in _PARTS]


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:27]}\N{HORIZONTAL ELLIPSIS}"


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """A column; NaN, which plots leave out, for what was not measured."""
    return [math.nan if row[name] is None else row[name] for row in rows]


def _log_scale(axis: Axis, low: float, high: float) -> None:
    """Plain numbers, the more of each decade the fewer decades there are."""
    subs = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if high / low < 10 else (1.0, 2.0, 5.0) if high / low < 2000 else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _svg(figure: Figure, title: str) -> str:
    """The figure as an element of a page; its ids are its own among several figures."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    prefix = re.sub(r"\W", "-", title.lower())
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)

"""Picture of a course: a panel for each figure, with the events that it is about."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from training.asking import Course, Line

_LINE, _GOOD, _BAD = "#0b6e99", "#3c7a2e", "#b3261e"
_COLUMNS = 4
_WIDTH, _HEIGHT = 2.6, 1.7
"""Inches of a panel."""
_EDGE = 0.06
"""How far outside 0 and 1 the marks stand."""


def draw(course: Course, path: Path) -> None:
    """Into a file whose suffix says the format."""
    columns = min(_COLUMNS, len(course.lines))
    rows = -(-len(course.lines) // columns)
    figure = Figure(figsize=(max(columns, 2) * _WIDTH, rows * _HEIGHT + 0.9), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel().tolist()
    for axes, line in zip(panels, course.lines, strict=False):
        _panel(axes, course, line)
    for axes in panels[len(course.lines) :]:
        axes.set_visible(False)
    for axes in panels[: len(course.lines)][-columns:]:
        axes.tick_params(labelbottom=True)
    figure.suptitle(course.title, fontsize=10)
    figure.supxlabel(course.axis, fontsize=9)
    kinds = (("^", _GOOD, course.words[0]), ("v", _BAD, course.words[1]))
    handles = [Line2D([], [], linestyle="", marker=mark, color=colour, label=word) for mark, colour, word in kinds]
    figure.legend(handles=handles, loc="outside lower right", ncols=2, frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)


def _panel(axes: Axes, course: Course, line: Line) -> None:
    axes.plot(course.steps, line.values, color=_LINE, linewidth=1.4)
    for places, height, mark, colour in ((line.good, 1 + _EDGE, "^", _GOOD), (line.bad, -_EDGE, "v", _BAD)):
        axes.plot(places, [height] * len(places), linestyle="", marker=mark, markersize=3, color=colour)
    axes.set_title(f"{line.name}: {line.values[-1]:.2f}", loc="left", fontsize=8)
    axes.set_ylim(-2 * _EDGE, 1 + 2 * _EDGE)
    axes.set_yticks([0, 0.5, 1])
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)

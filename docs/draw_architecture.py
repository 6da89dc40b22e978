"""Draws `docs/architecture.svg`: `python docs/draw_architecture.py`. A test holds the committed picture to it."""

from html import escape
from pathlib import Path
from typing import NamedTuple

WIDTH, HEIGHT = 960, 560
_STAGE, _FILE, _HOT = "#1f4e79", "#f4f1e8", "#7a3b12"


class Box(NamedTuple):
    """A rectangle with lines of text, the first one bold."""

    x: int
    y: int
    width: int
    height: int
    fill: str
    lines: tuple[str, ...]


STAGES = (
    Box(40, 90, 190, 64, _STAGE, ("training", "data, tasks, fit")),
    Box(40, 210, 190, 64, _STAGE, ("export", "ONNX, configuration, proof")),
    Box(40, 330, 190, 64, _STAGE, ("serving", "tritonserver, states, releases")),
    Box(40, 450, 190, 64, _STAGE, ("loadtest", "every answer compared")),
    Box(
        730,
        90,
        190,
        304,
        _HOT,
        ("kernels", "hot operations:", "reference", "Triton kernel", "custom op", "ONNX function"),
    ),
)
FILES = (
    Box(280, 20, 410, 50, _FILE, ("tables", "users, items, events")),
    Box(280, 140, 410, 50, _FILE, ("runs/SYSTEM/ID/", "config.json  model.safetensors  metrics.json  schema.json")),
    Box(
        280,
        260,
        410,
        50,
        _FILE,
        ("model_repository/MODEL/", "config.pbtxt  configs/cpu.pbtxt  VERSION/{model.onnx, manifest}"),
    ),
    Box(280, 380, 410, 50, _FILE, ("gRPC", "answers, metrics, user states in LMDB")),
    Box(280, 490, 410, 50, _FILE, ("loadtest/results/", "JSON and a report page")),
)


def svg() -> str:
    """The picture: stages on the left, the file that each leaves in the middle, the kernels that they share."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" role="img">',
        "<title>From tables to answers: one direction, each arrow a file</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#444"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *(_arrows(number) for number in range(len(FILES) - 1)),
        *(_hot(box) for box in STAGES[:3]),
        *(_box(box) for box in (*STAGES, *FILES)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _arrows(number: int) -> str:
    """From a file into its stage, and from the stage into the next file."""
    before, stage, after = FILES[number], STAGES[number], FILES[number + 1]
    right, middle = stage.x + stage.width, stage.y + stage.height // 2
    return _line(before.x, before.y + 25, right, middle - 12) + _line(right, middle + 12, after.x, after.y + 25)


def _hot(stage: Box) -> str:
    """From the kernels to a stage that calls them, between the files."""
    middle = stage.y + stage.height // 2
    return _line(STAGES[-1].x, middle, stage.x + stage.width, middle, _HOT)


def _line(x1: int, y1: int, x2: int, y2: int, colour: str = "#444") -> str:
    dashes = ' stroke-dasharray="5 4"' if colour == _HOT else ""
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="1.6"{dashes} '
        'marker-end="url(#head)"/>'
    )


def _box(box: Box) -> str:
    ink = "#222" if box.fill == _FILE else "#fff"
    first = box.y + box.height / 2 - 9 * (len(box.lines) - 1) + 5
    text = "".join(
        f'<text x="{box.x + box.width / 2:g}" y="{first + 18 * number:g}" text-anchor="middle" fill="{ink}" '
        f'font-size="{11.5 if number else 14}"{"" if number else _BOLD}>{escape(line)}</text>'
        for number, line in enumerate(box.lines)
    )
    shape = (
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="6" fill="{box.fill}" {_EDGE}/>'
    )
    return shape + text


_BOLD = ' font-weight="bold"'
_EDGE = 'stroke="#444" stroke-width="1"'

if __name__ == "__main__":
    Path(__file__).with_name("architecture.svg").write_text(svg())

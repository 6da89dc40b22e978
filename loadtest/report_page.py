"""The text of the report: header, tables and the page around the plots. All that comes from a result is escaped."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from loadtest.gate import CAPACITY, HIGHEST, Result, is_better, num_wrong, ratios

_TEMPLATE = Path(__file__).with_name("report.html")
_NOTHING = "-"
_RUNS_PER_TABLE = 8
"""Columns of the table of counters that fit on the page."""
_CONDITIONS = ("hardware", "pinning", "versions", "traffic")
"""What two results should have in common."""


class Plot(NamedTuple):
    """One section of the page; `svg` is empty where the result has nothing to draw, which `note` then says."""

    title: str
    note: str
    svg: str


class _Cell(NamedTuple):
    text: str
    css: str = ""
    """A class of the template."""


def page(result: Result, plots: Sequence[Plot], against: Result | None) -> str:
    """The whole document."""
    body = [_header(result), _facts(result), _conditions(result), _summary(result)]
    if against is not None:
        body.append(_comparison(result, against))
    body += [_section(plot.title, plot.note, f"<figure>{plot.svg}</figure>" if plot.svg else "") for plot in plots]
    body.append(_counters(result["runs"]))
    title = escape(f"Load test: {result['scenario']}, {result['recorded']}")
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(title=title, body="\n".join(body))


def label(run: Mapping[str, Any]) -> str:
    """What a run is called in tables and plots."""
    if run["mode"] == "closed":
        return f"closed, {run['users']} user{'' if run['users'] == 1 else 's'}"
    return f"{run['mode']}, {number(run['offered'])}/s"


def number(value: float | None) -> str:
    """To three digits or more; a dash for what was not measured."""
    if value is None or not math.isfinite(value):
        return _NOTHING
    if value == int(value):
        return f"{value:,.0f}"
    if abs(value) < 0.1:
        return f"{value:.3g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _header(result: Result) -> str:
    kind = "" if result["kind"] == "load" else f" ({result['kind']})"
    heading, recorded = f"Load test: {result['scenario']}{kind}", f"Recorded {result['recorded']}"
    return f"<h1>{escape(heading)}</h1><p class='note'>{escape(recorded)}</p>"


def _facts(result: Result) -> str:
    """What one wants to know first."""
    runs, floor, sweep = result["runs"], result["floor"], result.get("sweep")
    wrong, errors = num_wrong(result), sum(sum(run["errors"].values()) for run in runs)
    facts = [
        ("wrong answers", _Cell(f"{wrong:,}", "bad" if wrong else "good")),
        ("requests", _Cell(f"{sum(run['requests'] for run in runs):,}")),
        ("errors", _Cell(f"{errors:,}", "bad" if errors else "good")),
        (f"p50 of the floor ({floor['what']})", _Cell(f"{number(floor['p50_ms'])} ms")),
    ]
    if sweep:
        budget = f"highest rate with p99 at most {number(sweep['p99_budget_ms'])} ms and no errors"
        rate = sweep["highest_rate"]
        facts.append((budget, _Cell("none" if rate is None else f"{number(rate)}/s")))
    boxes = (f"<div><b class='{cell.css}'>{escape(cell.text)}</b>{escape(name)}</div>" for name, cell in facts)
    return f"<div class='facts'>{''.join(boxes)}</div>"


def _conditions(result: Result) -> str:
    lines = {name: ", ".join(f"{key} {value}" for key, value in _flat(result[name])) for name in _CONDITIONS}
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>' for name, text in lines.items())}</dl>"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested entries as (name, text)."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key} ")
        elif isinstance(value, list):
            yield f"{prefix}{key}", " ".join(str(one) for one in value)
        else:
            yield f"{prefix}{key}", number(value) if isinstance(value, float) else str(value)


def _summary(result: Result) -> str:
    head = ["run", "rate (requests/s)", "p50 (ms)", "p95 (ms)", "p99 (ms)", "p50 / floor", "p99 / floor"]
    head += ["CPU s / 1,000 requests", "requests", "sent late, p99 (ms)", "wrong", "errors"]
    floor = [_Cell("floor"), _Cell(_NOTHING), *_percentiles(result["floor"]), _Cell("1"), _Cell("1")]
    rows = [floor + [_Cell(_NOTHING)] * 5, *(_run(run) for run in result["runs"])]
    note = (
        "Latency is that of right answers, in open loop from the moment at which a request was meant to be sent. Where "
        "requests were sent late by much of the latency, the load generator was the limit and not the server."
    )
    return _section("Runs", note, _table(head, rows, "runs"))


def _run(run: Mapping[str, Any]) -> list[_Cell]:
    over, errors = run["over_floor"], ", ".join(f"{name} {count:,}" for name, count in run["errors"].items())
    numbers = [over["p50"], over["p99"], run["cpu_seconds_per_1000"], run["requests"], run["lag_p99_ms"]]
    return [
        _Cell(label(run)),
        _Cell(number(run["rate"])),
        *_percentiles(run),
        *(_Cell(number(value)) for value in numbers),
        _Cell(f"{run['wrong']:,}", "bad" if run["wrong"] else ""),
        _Cell(errors or "0", "bad" if errors else ""),
    ]


def _percentiles(measured: Mapping[str, Any]) -> list[_Cell]:
    return [_Cell(number(measured[name])) for name in ("p50_ms", "p95_ms", "p99_ms")]


def _comparison(result: Result, against: Result) -> str:
    old, new = ratios(against), ratios(result)
    rows = [_change(name, old.get(name), new.get(name)) for name in {**old, **new}]
    tables = _table(["ratio to the floor", "earlier", "now", "change"], rows, "narrow")
    note = (
        f"The earlier result was recorded {against['recorded']}. Less is better, except for {CAPACITY} and {HIGHEST}."
    )
    return _section("Compared with an earlier result", note, tables + _differences(result, against))


def _change(name: str, old: float | None, new: float | None) -> list[_Cell]:
    cells = [_Cell(name), _Cell(number(old)), _Cell(number(new))]
    if old is None or new is None:
        return [*cells, _Cell("not measured in both")]
    change = new / old - 1
    if abs(change) < 0.0005:
        return [*cells, _Cell("0.0%")]
    better = is_better(name, change)
    return [*cells, _Cell(f"{change:+.1%} {'better' if better else 'worse'}", "good" if better else "bad")]


def _differences(result: Result, against: Result) -> str:
    """What changed around the server: a ratio may follow from that."""
    old, new = (
        {f"{name} {key}": text for name in _CONDITIONS for key, text in _flat(one[name])} for one in (against, result)
    )
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if not names:
        return "<p>Hardware, pinning, versions and traffic are the same.</p>"
    rows = [[_Cell(name), _Cell(old.get(name, _NOTHING)), _Cell(new.get(name, _NOTHING))] for name in names]
    return _table(["what differs besides", "earlier", "now"], rows, "narrow words")


def _counters(runs: Sequence[Mapping[str, Any]]) -> str:
    """What the server's Prometheus counters rose by; a table for every few runs."""
    names = list(dict.fromkeys(name for run in runs for name in run["metrics"]))
    moved = [name for name in names if any(run["metrics"].get(name) for run in runs)]
    tables = ""
    for start in range(0, len(runs) if moved else 0, _RUNS_PER_TABLE):
        part = runs[start : start + _RUNS_PER_TABLE]
        rows = [[_Cell(name), *(_Cell(number(run["metrics"].get(name))) for run in part)] for name in moved]
        tables += _table(["counter", *(label(run) for run in part)], rows, "names")
    note = "By how much the server's counters rose in each run, warm-up included; those that rose in none are left out."
    return _section("Prometheus counters", note, tables)


def _section(title: str, note: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p class='note'>{escape(note)}</p>{content}</section>"


def _table(head: Sequence[str], rows: Sequence[Sequence[_Cell]], css: str) -> str:
    """The first cell of each row is its heading."""
    heading = "".join(f"<th scope='col'>{escape(text)}</th>" for text in head)
    body = "".join(f"<tr><th scope='row'>{_breakable(row[0].text)}</th>{_cells(row[1:])}</tr>" for row in rows)
    return f"<table class='{css}'><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table>"


def _breakable(text: str) -> str:
    """A counter's long name breaks between its labels."""
    return re.sub(r"([{,])(?=\S)", r"\1<wbr>", escape(text))


def _cells(cells: Sequence[_Cell]) -> str:
    return "".join(f"<td class='{cell.css}'>{escape(cell.text)}</td>" for cell in cells)

"""The report page: what stands in it, that it needs nothing else, and how a real browser draws it."""

import copy
import json
import math
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from loadtest.report import write_report
from loadtest.report_page import label, number
from tests.loadtest.results_for_tests import synthetic

Result = dict[str, Any]

WIDTH = 1280
HOSTILE = "<script>alert('$x_1$')</script>&\"><img src=x onerror=alert(1)>"
VOID = ("wbr", "meta", "br", "img", "link")
MEASURE = (Path(__file__).parent / "measure.html").read_text()


class Page(HTMLParser):
    """What a document holds: tags with their attributes, rows of tables, text by tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open:
            return
        self.texts[self._open[-1]][-1] += data
        if self._open[-1] in ("th", "td"):
            self.rows[-1][-1] += data

    def row(self, first: str) -> list[str]:
        """The row of a table that starts with this cell."""
        return next(row for row in self.rows if row[0] == first)


def report(folder: Path, result: Result, against: Result | None = None) -> Page:
    write_report(result, folder / "report.html", against)
    return read(folder / "report.html")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives a case's page, alone in a folder and written once; not to be changed."""

    @cache
    def written(case: str) -> Path:
        page = tmp_path_factory.mktemp("drawn") / "report.html"
        write_report(CASES[case][0], page, CASES[case][1])
        return page

    return written


def read(page: Path) -> Page:
    return Page(page.read_text(encoding="utf-8"))


def nothing_answered(result: Result) -> Result:
    """The same result if no run had got a right answer."""
    result = copy.deepcopy(result)
    for run in result["runs"]:
        run |= dict.fromkeys(("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms", "lag_p99_ms"))
        run |= {"ok": 0, "rate": 0.0, "cdf": [], "server": {}, "metrics": {}, "errors": {"ServerDown": 7}}
        run |= {"over_floor": {"p50": None, "p99": None}, "over_time": [{"second": 0, "rate": 0.0} | NO_ANSWER]}
    result["sweep"]["highest_rate"] = None
    return result


NO_ANSWER: dict[str, Any] = {"p50_ms": None, "p99_ms": None}


def hostile() -> Result:
    """A result whose every text is markup, and long."""
    result = synthetic(closed=(1,), offered=(100.0,))
    name = HOSTILE * 4
    result |= {"scenario": name, "recorded": HOSTILE, "kind": HOSTILE}
    result["versions"] = {HOSTILE: name}
    result["hardware"]["cpu"] = name.replace(" ", "_")
    result["traffic"]["distribution"] = name
    result["floor"]["what"] = name
    for run in result["runs"]:
        run["errors"] = {name: 3}
        run["metrics"] = {name.replace(" ", "_"): 1.0}
        run["server"] = {name: run["server"]["lrea"], "$a$": run["server"]["lrea_state"]}
    return result


SMALL = synthetic(closed=(1, 8), offered=(100.0, 800.0))
CASES: dict[str, tuple[Result, Result | None]] = {
    "full": (synthetic(), synthetic(slower=1.2, seed=1)),
    "small": (SMALL, None),
    "against other loads": (SMALL, synthetic(closed=(1, 64), offered=(150.0, 444.4), seed=1)),
    "closed": (synthetic(closed=(1, 8), offered=()), None),
    "open": (synthetic(closed=(), offered=(100.0, 800.0)), None),
    "one run": (synthetic(closed=(1,), offered=()) | {"sweep": None}, None),
    "one rate": (synthetic(closed=(), offered=(100.0,)), None),
    "no run": (synthetic(closed=(), offered=()), None),
    "many runs": (synthetic(closed=tuple(range(1, 10)), offered=tuple(50.0 * n for n in range(1, 15))), None),
    "no answer": (nothing_answered(SMALL), SMALL),
    "hostile": (hostile(), hostile()),
}


@pytest.mark.parametrize("case", sorted(CASES.keys() - {"full", "many runs"}))
def test_every_result_gives_a_page_of_its_own_files_only(drawn: Callable[[str], Path], case: str) -> None:
    page = read(drawn(case))
    assert [path.name for path in drawn(case).parent.iterdir()] == ["report.html"]
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base"})
    for _, attributes in page.tags:
        assert "src" not in attributes
        assert all((attributes.get(name) or "#").startswith("#") for name in ("href", "xlink:href"))
    styles = "".join(page.texts["style"])
    assert "@import" not in styles
    assert "url(" not in styles


def test_ids_are_unique(drawn: Callable[[str], Path]) -> None:
    ids = [attributes["id"] for _, attributes in read(drawn("small")).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_table_of_runs_holds_each_run_and_the_floor(tmp_path: Path) -> None:
    result = synthetic(closed=(1, 8), offered=(100.0, 800.0), wrong=2)
    page = report(tmp_path, result)
    assert page.row("floor")[2:7] == ["1.50", "3.15", "4.35", "1", "1"]
    for run in result["runs"]:
        row = page.row(label(run))
        assert row[2:5] == [number(run[name]) for name in ("p50_ms", "p95_ms", "p99_ms")]
        assert row[-2] == str(run["wrong"])
    assert page.row("open, 800/s")[-1] == "QueueFull 1,000, DeadlineExceeded 3"
    assert page.texts["b"][:3] == ["2", "20,895", "1,003"]


def test_the_header_names_time_hardware_and_versions(drawn: Callable[[str], Path]) -> None:
    page = read(drawn("small"))
    assert page.texts["h1"] == ["Load test: lrea"]
    assert "Recorded 2026-11-22T02:50:00Z" in page.texts["p"]
    said = " ".join(page.texts["dd"])
    assert "Intel(R) Xeon(R)" in said
    assert "tritonserver 2.51.0" in said


def test_counters_that_rose_are_in_tables_and_the_others_are_not(drawn: Callable[[str], Path]) -> None:
    page = read(drawn("full"))
    rows = [row for row in page.rows if row[0] == "recserve_user_state_reads_total{outcome=hit}"]
    assert [len(row) for row in rows] == [9, 4]
    assert rows[0][1] == "4,455"
    assert not [row for row in page.rows if "stale" in row[0]]


def test_ratios_are_compared_with_their_direction(tmp_path: Path) -> None:
    result, against = copy.deepcopy(SMALL), copy.deepcopy(SMALL)
    result["runs"][0]["over_floor"]["p50"] *= 1.5
    result["runs"][0]["over_floor"]["p99"] *= 0.5
    result["sweep"]["highest_rate"] *= 1.2
    del against["runs"][1]
    page = report(tmp_path, result, against)
    assert page.row("closed-1.over_floor.p50")[-1] == "+50.0% worse"
    assert page.row("closed-1.over_floor.p99")[-1] == "-50.0% better"
    assert page.row("closed-1.cpu_over_floor")[-1] == "0.0%"
    assert page.row("capacity_x_floor")[-1] == "+20.0% better"
    assert page.row("closed-8.over_floor.p50")[1:] == ["-", "6.45", "not measured in both"]


def test_what_else_differs_from_the_earlier_result_is_said(tmp_path: Path) -> None:
    against = copy.deepcopy(SMALL)
    against["versions"]["numpy"] = "1.26.3"
    against["hardware"]["cores"] = 64
    page = report(tmp_path, SMALL, against)
    assert page.row("versions numpy") == ["versions numpy", "1.26.3", "1.26.4"]
    assert page.row("hardware cores") == ["hardware cores", "64", "2"]
    assert not [row for row in page.rows if row[0].startswith("versions python")]
    assert "Hardware, pinning, versions and traffic are the same." in report(tmp_path, SMALL, SMALL).texts["p"]


def test_a_result_of_another_scenario_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'other'"):
        report(tmp_path, synthetic(), synthetic() | {"scenario": "other"})
    assert not list(tmp_path.iterdir())


def test_markup_in_a_result_stays_text(drawn: Callable[[str], Path]) -> None:
    page = read(drawn("hostile"))
    assert page.texts["h1"] == [f"Load test: {HOSTILE * 4} ({HOSTILE})"]
    assert page.row("open, 100/s")[-1] == f"{HOSTILE * 4} 3"
    assert "$a$" in page.texts["text"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (math.nan, "-"),
        (0, "0"),
        (0.003, "0.003"),
        (0.161, "0.161"),
        (1.5, "1.50"),
        (9.999, "10.00"),
        (99.5, "99.5"),
        (250.4, "250"),
        (800.0, "800"),
        (1874812.5, "1,874,812"),
    ],
)
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def browser() -> str:
    """The path of Chromium; CI must have it."""
    found = shutil.which("chromium")
    if found is None:
        missing = "no 'chromium' on PATH: the report was not looked at in a browser; apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def chromium(page: Path, *options: str) -> str:
    """Opens a page without a window; standard output."""
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    command += [f"--user-data-dir={page.parent / 'profile'}", f"--window-size={WIDTH},2400", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("ci", [True, False])
def test_a_missing_browser_fails_in_ci_and_skips_elsewhere(monkeypatch: pytest.MonkeyPatch, ci: bool) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", "true" if ci else "")
    outcome = pytest.fail.Exception if ci else pytest.skip.Exception
    with pytest.raises(outcome, match="apt-get install chromium"):
        browser()


@pytest.fixture
def looked_at(drawn: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """As `drawn`, but a copy, beside which the browser may write; nothing is drawn where there is none."""
    browser()
    return lambda case: Path(shutil.copy(drawn(case), tmp_path))


def test_the_browser_sees_every_row_and_plot(looked_at: Callable[[str], Path]) -> None:
    page = Page(chromium(looked_at("full"), "--dump-dom"))
    names = [label(run) for run in synthetic()["runs"]]
    assert [row[0] for row in page.rows[1:13]] == ["floor", *names]
    assert page.row("closed-32.over_floor.p99")[-1].endswith("better")
    plots = [attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg"]
    assert plots == ["Latency distribution", "Latency over time", "Rate sweep", "Where the server spends the time"]
    shown = page.texts["text"]
    assert {"p99 budget: 20 ms", "highest rate within the budget: 500/s", "latency (ms)", *names} <= set(shown)


def test_the_page_is_drawn_in_the_colours_of_the_plots(looked_at: Callable[[str], Path], tmp_path: Path) -> None:
    chromium(looked_at("small"), f"--screenshot={tmp_path / 'report.png'}")
    pixels = np.round(imread(tmp_path / "report.png")[..., :3] * 255).astype(np.int64)  # (H, W, 3)
    assert pixels.shape[1] == WIDTH
    colours, counts = np.unique(pixels @ (1 << 16, 1 << 8, 1), return_counts=True)
    found = {f"#{colour:06X}": count for colour, count in zip(colours.tolist(), counts.tolist(), strict=True)}
    assert found["#FFFFFF"] > counts.sum() / 2
    assert len(found) > 200
    assert all(found.get(colour, 0) > 100 for colour in ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#000000"))


@pytest.mark.parametrize("case", ["full", "one run", "many runs", "no answer", "hostile"])
def test_no_label_overlaps_and_nothing_leaves_the_page(looked_at: Callable[[str], Path], case: str) -> None:
    path = looked_at(case)
    path.write_text(path.read_text(encoding="utf-8").replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    assert [json.loads(text) for text in Page(chromium(path, "--dump-dom")).texts["pre"]] == [[]]

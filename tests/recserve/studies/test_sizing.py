"""Sizing on paper is arithmetic over committed results, and follows them."""

import json
import re
from pathlib import Path

import pytest

from loadtest import RESULTS
from recserve.studies.sizing import Row, Site, rows


def found(what: str, site: Site, folder: Path = RESULTS) -> Row:
    (row,) = [row for row in rows(site, folder) if row.what.startswith(what)]
    return row


def number(row: Row) -> float:
    return float(re.sub(r"[^\d.]", "", row.result.partition(" ")[0]))


def test_machines_hold_the_rate_when_one_is_lost() -> None:
    site = Site(rate=10_000, cores=8)
    rate = json.loads((RESULTS / "lrea.json").read_text())["sweep"]["highest_rate"]
    machines = number(found("machines", site))
    assert (machines - 1) * site.cores * rate >= 2 * site.rate
    assert (machines - 2) * site.cores * rate < 2 * site.rate, "no more than are needed"


@pytest.mark.parametrize(
    ("what", "field", "of"),
    [
        ("cores that score", "rate", "users"),
        ("user states", "users", "rate"),
        ("histories", "events", "rate"),
        ("table of items", "items", "users"),
        ("index", "items", "users"),
    ],
)
def test_twice_as_much_of_one_thing_needs_twice_as_much_and_of_another_nothing(what: str, field: str, of: str) -> None:
    site = Site()
    once, twice = (number(found(what, Site(**{field: factor * getattr(site, field)}))) for factor in (1, 2))
    assert twice == pytest.approx(2 * once, rel=0.05)
    assert number(found(what, Site(**{of: 2 * getattr(site, of)}))) == once


def test_figures_are_those_of_the_results(tmp_path: Path) -> None:
    for name in ("lrea", "lrea-length", "histories", "ann"):
        (tmp_path / f"{name}.json").write_text((RESULTS / f"{name}.json").read_text())
    said = json.loads((tmp_path / "lrea.json").read_text())
    said["sweep"]["highest_rate"] /= 4
    (tmp_path / "lrea.json").write_text(json.dumps(said))
    assert number(found("cores that score", Site(), tmp_path)) == pytest.approx(
        4 * number(found("cores that score", Site())), rel=0.05
    )


def test_a_site_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="users is 0; it must be 1 or more"):
        Site(users=0)

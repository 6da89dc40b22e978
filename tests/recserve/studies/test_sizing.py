"""Sizing on paper is arithmetic over committed results, and follows them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from loadtest import RESULTS
from recserve.studies.sizing import RESULTS_READ, Row, Site, markdown, rows
from serving.state.record import Key
from serving.state.states import Entry, Lookup
from serving.state.store import MAX_BYTES, StateStore

CHART = Path(__file__).parents[3] / "deploy" / "chart"


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
        ("`max_bytes`", "users", "items"),
        ("`maxmemory`", "events", "rate"),
    ],
)
def test_twice_as_much_of_one_thing_needs_twice_as_much_and_of_another_nothing(what: str, field: str, of: str) -> None:
    site = Site()
    once, twice = (number(found(what, Site(**{field: factor * getattr(site, field)}))) for factor in (1, 2))
    assert twice == pytest.approx(2 * once, rel=0.05)
    assert number(found(what, Site(**{of: 2 * getattr(site, of)}))) == once


def test_figures_are_those_of_the_results(tmp_path: Path) -> None:
    for name in RESULTS_READ:
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


def test_a_store_of_that_bound_keeps_the_states_of_a_machine(tmp_path: Path) -> None:
    """A thousandth of the users, in LMDB itself: none has to go for another, and a fifth less room is too little."""
    length = json.loads((RESULTS / "lrea-length.json").read_text())
    site = Site(users=4_000)
    machines = int(number(found("machines", site))) - 1
    bound = int(number(found("`max_bytes`", site)))
    size = max(one["bytes"] for one in length["state"])
    state = {"keys": np.zeros(size // 4 - 64, np.float32)}
    users = site.users // machines
    for max_bytes, evicts in ((bound, False), (bound * 4 // 5, True)):
        with StateStore(tmp_path / str(max_bytes), max_bytes=max_bytes) as store:
            entries = [Entry(Lookup(Key("lrea", 1, user), bytes(16)), state) for user in range(users)]
            evicted = sum(store.put_many(entries[start : start + 8]) for start in range(0, users, 8))
        assert bool(evicted) == evicts, max_bytes


def test_the_defaults_are_less_than_this_site_needs_and_so_the_page_says_what_to_set() -> None:
    site, text = Site(), markdown()
    assert number(found("`max_bytes`", site)) > MAX_BYTES
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert number(found("`maxmemory`", site)) > values["valkey"]["historiesMegabytes"]
    assert "max_bytes=N" in text
    assert "valkey.historiesMegabytes" in text


def test_memory_is_that_of_tables_server_and_states() -> None:
    once, more = (number(found("memory of a machine", Site(items=items))) for items in (10_000_000, 20_000_000))
    tables = number(found("table of items", Site())) * Site().cores
    assert more - once == pytest.approx(tables, rel=0.02)
    assert once > tables + number(found("`max_bytes`", Site())) / 1e9

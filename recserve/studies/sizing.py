"""How many machines, how much memory and which stores a site needs: arithmetic over the committed results.

`python -m recserve.studies.sizing --users 1000000 --items 10000000 --rate 10000` prints it for other numbers. It is
paper: the figures are of a small machine, of models with untrained or small weights, and of loopback.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from loadtest import RESULTS
from loadtest.published import table

_GB = 1e9
_MIB = 2**20
_FP32_BYTES = 4
_PAGE_BYTES, _PAGE_HEAD_BYTES = 4096, 16
"""Of LMDB, whose larger values have pages of their own."""
_LMDB_USED = 0.85
"""Share of its bound that states fill: `serving.state.store` keeps an eighth free, and keys have pages too."""
_SPARE = 1.25
"""Room in a store that must not be full."""
RESULTS_READ = ("lrea", "lrea-length", "histories", "ann", "live-soak")
_BUSY = 0.5
"""Share of the measured rate that a core is given: the p99 was measured with nothing beside it."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """What is wanted."""

    users: int = 1_000_000
    items: int = 10_000_000
    rate: int = 10_000
    """Requests a second, each a user with some hundred candidates."""
    events: int = 100
    """Kept of a user's history."""
    cores: int = 8
    """Of a machine."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more")


class Row(NamedTuple):
    """One need: what, how it is computed with measured figures, how much, and where the figures stand."""

    what: str
    arithmetic: str
    result: str
    source: str


def rows(site: Site, folder: Path = RESULTS) -> list[Row]:
    """The needs of a site."""
    load, length, histories, ann, soak = (_read(folder, name) for name in RESULTS_READ)
    return [
        *_machines(site, load),
        *_users(site, length, histories),
        *_items(site, length, ann),
        *_memory(site, load, length, soak),
        *_settings(site, load, length, histories),
    ]


def _working(site: Site, load: dict[str, Any]) -> int:
    """Machines that score, without the one that may be lost."""
    return ceil(_cores(site, load) / site.cores)


def _cores(site: Site, load: dict[str, Any]) -> int:
    return ceil(site.rate / (load["sweep"]["highest_rate"] * _BUSY))


def _state(length: dict[str, Any]) -> int:
    """Bytes of the largest state."""
    return max(one["bytes"] for one in length["state"])


def _state_bytes(site: Site, load: dict[str, Any], length: dict[str, Any]) -> int:
    """Bound of the states in LMDB on each machine, while one is lost."""
    users = ceil(site.users / _working(site, load))
    return ceil(users * _pages(length) * _PAGE_BYTES / _LMDB_USED)


def _pages(length: dict[str, Any]) -> int:
    """Of LMDB that a state takes, with the head that LMDB puts before it."""
    return ceil((_state(length) + _PAGE_HEAD_BYTES) / _PAGE_BYTES)


def _event(histories: dict[str, Any]) -> float:
    """Bytes of an event in Valkey."""
    return next(one["bytes_per_event"] for one in histories["rows"] if one["store"] == "valkey")


def _machines(site: Site, load: dict[str, Any]) -> list[Row]:
    rate, budget = load["sweep"]["highest_rate"], load["sweep"]["p99_budget_ms"]
    cores, working = _cores(site, load), _working(site, load)
    left = site.rate / (working * site.cores)
    return [
        Row(
            "cores that score",
            f"{site.rate:,} / ({rate:,.1f} of one core within a p99 of {budget:g} ms x {_BUSY:g})",
            f"{cores}",
            "`lrea.json`",
        ),
        Row(
            "machines that score",
            f"{cores} cores / {site.cores}, and one that may be lost; a core then has {left:,.0f} requests a second",
            f"{working + 1}",
            "`lrea.json`",
        ),
        Row(
            "edges",
            "one that may be lost, and one; what an edge takes of a core was not measured: watch its CPU",
            "2 or more",
            "none",
        ),
    ]


def _users(site: Site, length: dict[str, Any], histories: dict[str, Any]) -> list[Row]:
    state, event = _state(length), _event(histories)
    return [
        Row(
            "user states, in all",
            f"{site.users:,} users x {state:,} bytes",
            f"{site.users * state / _GB:.1f} GB",
            "`lrea-length.json`",
        ),
        Row(
            "read of them, where they are on another machine",
            f"{site.rate:,} x {state:,} bytes",
            f"{site.rate * state * 8 / _GB:.1f} Gbit/s",
            "`lrea-length.json`",
        ),
        Row(
            "histories, in Valkey",
            f"{site.users:,} users x {site.events} events x {event:g} bytes",
            f"{site.users * site.events * event / _GB:.1f} GB",
            "`histories.json`",
        ),
    ]


def _items(site: Site, length: dict[str, Any], ann: dict[str, Any]) -> list[Row]:
    dim, largest = length["sizes"]["dim"], max(one["items"] for one in ann["rows"])
    found = [one for one in ann["rows"] if one["items"] == largest]
    each, cpu = found[0]["index_bytes"] / largest, [one["ann_cpu_ms"] for one in found]
    grown = max(1.0, site.items / largest)
    cores = [ceil(site.rate * ms * grown / 1e3) for ms in (min(cpu), max(cpu))]
    return [
        Row(
            "table of items, in each process",
            f"{site.items:,} items x {dim} x {_FP32_BYTES} bytes",
            f"{site.items * dim * _FP32_BYTES / _GB:.2f} GB",
            "the sizes of `lrea-length.json`",
        ),
        Row(
            "index for retrieval",
            f"{site.items:,} items x {each:.1f} bytes",
            f"{site.items * each / _GB:.2f} GB",
            "`ann.json`",
        ),
        Row(
            "cores that retrieve, where every request does",
            f"{site.rate:,} x {min(cpu):g} to {max(cpu):g} ms at {largest:,} items, by how well these cluster, "
            f"x {grown:g} for {site.items:,}",
            f"{cores[0]:,} to {cores[1]:,}",
            "`ann.json`",
        ),
    ]


def _memory(site: Site, load: dict[str, Any], length: dict[str, Any], soak: dict[str, Any]) -> list[Row]:
    tables = site.cores * site.items * length["sizes"]["dim"] * _FP32_BYTES / _GB
    server = max(one["rss_mib"] for one in soak["experiments"][0]["samples"]) * _MIB / _GB
    states = _state_bytes(site, load, length) / _GB
    return [
        Row(
            "memory of a machine that scores",
            f"{tables:.2f} GB of tables, one for each of {site.cores} processes, + {server:.1f} GB of a server with "
            f"small tables + {states:.1f} GB, so that states are read from memory",
            f"{tables + server + states:.1f} GB",
            "`live-soak.json`, `lrea-length.json`",
        )
    ]


def _settings(site: Site, load: dict[str, Any], length: dict[str, Any], histories: dict[str, Any]) -> list[Row]:
    held = site.users * site.events * _event(histories)
    return [
        Row(
            "`max_bytes` of `--state lmdb:///DIR?max_bytes=N`, on each machine",
            f"{site.users:,} users / {_working(site, load)} machines that are left x {_pages(length)} pages of "
            f"{_PAGE_BYTES:,} bytes, of which {_LMDB_USED:.0%} hold states",
            f"{_state_bytes(site, load, length)}",
            "`lrea-length.json`",
        ),
        Row(
            "`maxmemory` of the Valkey of histories, the chart's `valkey.historiesMegabytes`",
            f"{held / _GB:.1f} GB x {_SPARE:g}, as a full one refuses events; a pod may take twice that while it "
            "rewrites its log",
            f"{ceil(held * _SPARE / _MIB)} MiB",
            "`histories.json`",
        ),
    ]


def markdown(folder: Path = RESULTS) -> str:
    """A GitHub table of the needs of the default site."""
    return "\n".join(table(["needed", "arithmetic", "result", "figures"], [[*row] for row in rows(Site(), folder)]))


def _read(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text())


def main() -> None:
    """Prints the table of a site."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in vars(Site()).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    site = Site(**vars(parser.parse_args()))
    sys.stdout.writelines(f"{row.what}: {row.result}\n    {row.arithmetic}; {row.source}\n" for row in rows(site))


if __name__ == "__main__":
    main()

"""`python -m loadtest.histories`: what a million users' histories take, and how fast stores append and read.

Events of generated users, 20 each, appended in transactions of 500 users; then one event each of single users and of 64
users at once; then reads of 1, 16 and 64 users, digests alone and whole histories. With --valkey both stores are
measured in turn, in one run. Rates are of one process, with all of its own work.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from loadtest import RESULTS
from serving.environment import circumstances
from serving.histories.histories import Histories
from serving.histories.history import Events
from serving.histories.keys import Whose
from serving.histories.opening import open_histories

DATASET = "generated"
AT_ONCE = 500
_READS, _APPENDS = 3000, 500
_READ_SIZES = (1, 16, 64)


def events(random: np.random.Generator, number: int, begin: int) -> Events:
    """Events one second apart, of a million items."""
    times = begin + np.arange(number)
    ids = random.integers(0, 2**63, number).astype(np.uint64)
    return Events(random.integers(1, 10**6, number), np.ones(number), times, np.zeros(number, np.int64), ids)


def batches(users: int, number: int) -> Iterator[dict[Whose, Events]]:
    """All users, in an order that is none of the keys'."""
    random = np.random.default_rng(0)
    order = random.permutation(users)
    for start in range(0, users, AT_ONCE):
        yield {Whose(DATASET, int(user)): events(random, number, 1_000_000) for user in order[start : start + AT_ONCE]}


def measure(url: str, users: int, number: int) -> dict[str, Any]:
    """The figures of one empty store."""
    histories = Histories(open_histories(url))
    used = histories.store.stat().used_bytes
    wall, cpu = time.perf_counter(), time.process_time()
    for batch in batches(users, number):
        histories.append(batch)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    held = histories.store.stat().used_bytes - used
    total = users * number
    found = {
        "store": url.partition(":")[0],
        "users": users,
        "events": total,
        "bytes": held,
        "bytes_per_event": round(held / total, 1),
        "bytes_per_user": round(held / users, 1),
        "load_events_per_s": round(total / wall),
        "load_cpu_us_per_event": round(1e6 * cpu / total, 2),
    }
    random = np.random.default_rng(1)
    for size in (1, 64):
        found |= _timed(f"append_{size}", _APPENDS, lambda size=size: _append(histories, random, users, size))
    for size in _READ_SIZES:
        found |= _timed(f"digests_{size}", _READS, lambda size=size: histories.digests(_drawn(random, users, size)))
        found |= _timed(f"read_{size}", _READS, lambda size=size: histories.of(_drawn(random, users, size)))
    histories.close()
    return found


def _drawn(random: np.random.Generator, users: int, size: int) -> list[Whose]:
    return [Whose(DATASET, int(user)) for user in np.unique(random.integers(0, users, size))]


def _append(histories: Histories, random: np.random.Generator, users: int, size: int) -> None:
    histories.append({whose: events(random, 1, 2_000_000) for whose in _drawn(random, users, size)})


def _timed(name: str, repetitions: int, call: Callable[[], object]) -> dict[str, float]:
    """Microseconds of a call."""
    taken = []
    for _ in range(repetitions):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    p50, p99 = 1e6 * np.percentile(taken, [50, 99])
    return {f"{name}_us_p50": round(p50, 1), f"{name}_us_p99": round(p99, 1)}


def main() -> None:
    """Prints the figures as JSON, and writes them where --output says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=20, help="number of events of each user")
    parser.add_argument("--valkey", help="URL of an empty Valkey database, valkey://host:port/0")
    parser.add_argument("--output", type=Path, default=RESULTS / "histories.json")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="recserve-histories-"))
    try:
        rows = [measure(url, asked.users, asked.events) for url in (f"lmdb://{folder}", asked.valkey) if url]
    finally:
        shutil.rmtree(folder)
    facts = {
        "run": "no model: generated users",
        **circumstances(),
        "rows": rows,
    }
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(json.dumps(facts, indent=2) + "\n")
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()

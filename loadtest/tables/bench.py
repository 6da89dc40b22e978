"""`python -m loadtest.tables.bench`: seconds and memory of reading 10 million generated events as own tables.

Read, mapped and checked; sorted by user and time; split and batched as the click task does, with histories.

Each format is generated and then read in processes of their own, so that the peak is that of reading alone.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from loadtest import RESULTS
from loadtest.tables.generate import generate
from serving.environment import circumstances, versions
from training.data.folder.build import inspect
from training.system import Wanted
from training.tasks.click import CLICK

_ENDINGS = (".parquet", ".csv")
_BATCH, _BATCHES, _HISTORY = 1024, 200, 50
_KIB = 2**20
"""Of one GiB; Linux tells the peak in KiB."""


def measure(folder: Path) -> dict[str, Any]:
    """What takes which time in this process, and the most memory that it had."""
    before = _peak()
    start = time.perf_counter()
    found = inspect(folder, None, print)
    read = time.perf_counter()
    if found.interactions is None:
        raise ValueError(f"{folder} cannot be used: {found.problems.errors[0]}")
    user, moment = (found.interactions.events[name].to_numpy() for name in ("user", "time"))
    order = np.lexsort((moment, user))
    ordered = time.perf_counter()
    wanted = Wanted(frozenset({"history", "features"}), _HISTORY, {})
    data = CLICK.view(found.interactions, wanted)
    viewed = time.perf_counter()
    rows = np.random.default_rng(0).permutation(len(data.train))[: _BATCHES * _BATCH]
    for batch in rows.reshape(-1, _BATCH):
        data.train.batch(batch)
    end = time.perf_counter()
    return {
        "events": len(order),
        "users": len(found.interactions.users) - 1,
        "items": len(found.interactions.items) - 1,
        "read_map_check_s": round(read - start, 2),
        "sort_s": round(ordered - read, 2),
        "split_s": round(viewed - ordered, 2),
        "batches_per_s": round(_BATCHES / (end - viewed), 1),
        "cpu_s": round(time.process_time(), 2),
        "imports_gib": round(before, 2),
        "peak_gib": round(_peak(), 2),
        "file_gib": round(sum(path.stat().st_size for path in folder.iterdir()) / 2**30, 2),
    }


def main() -> None:
    """Prints the figures as JSON, and writes them where --output says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=500_000)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--output", type=Path, default=RESULTS / "own-tables.json")
    parser.add_argument("--generate", nargs=2, metavar=("FOLDER", "ENDING"), help="folder to write, and no more")
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help="folder to read, and no more")
    asked = parser.parse_args()
    if asked.generate:
        generate(Path(asked.generate[0]), asked.events, asked.users, asked.items, asked.generate[1])
    elif asked.measure:
        json.dump(measure(asked.measure), sys.stdout)
    else:
        _write(asked)


def _write(asked: argparse.Namespace) -> None:
    size = ["--events", asked.events, "--users", asked.users, "--items", asked.items]
    with tempfile.TemporaryDirectory() as root:
        rows = []
        for ending in _ENDINGS:
            folder = f"{root}/{ending[1:]}"
            _again(*size, "--generate", folder, ending)
            rows.append({"format": ending[1:], **json.loads(_again(*size, "--measure", folder))})
    result = {
        "kind": "own-tables",
        "run": "none: no model",
        **circumstances(),
        "command": " ".join(["python -m loadtest.tables.bench", *map(str, size)]),
        "versions": {**versions(), "polars": pl.__version__},
        "load_average": os.getloadavg()[0],
        "rows": rows,
    }
    text = json.dumps(result, indent=1) + "\n"
    asked.output.write_text(text)
    sys.stdout.write(text)


def _again(*words: object) -> str:
    command = [sys.executable, "-m", "loadtest.tables.bench", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB


if __name__ == "__main__":
    main()

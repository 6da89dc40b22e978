"""Tables of measured latency and throughput for docs, out of the committed results."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest.bench import RESULTS
from loadtest.length.plot import LABELS

_PERCENTILES = ("p50", "p99")
_QUALITY = ("pruned_share", "recall10", "ndcg10", "consistency")


def markdown(folder: Path = RESULTS) -> str:
    """Two GitHub tables: LREA by the length of the history, and the servers side by side."""
    length, peers = (json.loads((folder / f"{name}.json").read_text()) for name in ("lrea-length", "peers"))
    return "\n".join([*_length(length), "", *_peers(peers)])


def paths_markdown(folder: Path = RESULTS) -> str:
    """A GitHub table: MATT-CTR at several numbers of paths beside one forward of its base model."""
    result = json.loads((folder / "matt-cost.json").read_text())
    header = [
        "base",
        "P",
        "base, ms",
        "P + 1 paths, ms",
        "of base",
        "served base, ms",
        "served MATT, ms",
        "of served base",
    ]
    names = ("base_ms", "graph_ms", "graph_ratio", "served_base_ms", "served_ms", "served_ratio")
    rows = [[row["base"], str(row["paths"]), *(f"{row[name]:.2f}" for name in names)] for row in result["rows"]]
    return "\n".join(_table(header, rows))


def generation_markdown(folder: Path = RESULTS) -> str:
    """Two GitHub tables: REG4Rec's one graph beside searches around a graph of one step, and CORP against theta."""
    decoding, corp = (json.loads((folder / f"reg4rec-{name}.json").read_text()) for name in ("decoding", "corp"))
    header = ["beams", "one graph, ms", "served, ms", "step by step, ms", "and path by path, ms", "of one graph"]
    names = ("graph_ms", "served_ms", "shared_ms", "per_path_ms", "per_path_ratio")
    rows = [[str(row["beams"]), *(f"{row[name]:.1f}" for name in names)] for row in decoding["rows"]]
    columns = ["theta", "pruned share", "recall@10", "NDCG@10", "consistency of the best path", "p50, ms"]
    points = [
        [f"{one['theta']:g}", *(f"{one[name]:.4f}" for name in _QUALITY), f"{one['p50_ms']:.2f}"]
        for one in corp["points"]
    ]
    return "\n".join([*_table(header, rows), "", *_table(columns, points)])


_FAULTS = {
    "swap": "a release is taken over",
    "crash": "tritonserver crashes (SIGSEGV)",
    "kill_server": "tritonserver is killed",
    "kill_stub": "a model's process is killed",
    "freeze_stub": "a model's process is frozen (SIGSTOP)",
    "freeze_server_2s": "tritonserver is frozen for 2 s",
    "freeze_stub_2s": "a model's process is frozen for 2 s",
    "drain": "SIGTERM beside a second server, clients that heed readiness or retry",
    "hang_up": "SIGHUP, then started by hand",
    "kill_serve": "recserve serve is killed, then started by hand",
    "overload": "more load than it can answer",
    "soak": "a long run with a release now and then",
    "abuse": "rude clients and killed stubs, honest clients",
}


def faults_markdown(folder: Path = RESULTS) -> str:
    """A GitHub table: what clients see of faults, signals, overload, roll-outs and abuse."""
    faults, abuse = (json.loads((folder / f"{name}.json").read_text()) for name in ("faults", "abuse"))
    all_of_it = [*faults["experiments"], {"name": "soak", **faults["soak"]}]
    all_of_it.append({"name": "abuse", **abuse["honest"], "restarts": abuse["restarts"]})
    header = ["what happens", "requests", "right", "wrong", "clean errors", "unclean", "ready again, s", "restarts"]
    return "\n".join(_table(header, [_fault(one) for one in all_of_it]))


def _fault(one: dict[str, Any]) -> list[str]:
    clean = sum(one["errors"].values()) - one["unclean"]
    counts = [f"{count:,}" for count in (one["requests"], one["ok"], one["wrong"], clean, one["unclean"])]
    return [_FAULTS[one["name"]], *counts, str(one.get("ready_s", "")), str(one.get("restarts", ""))]


def _length(result: dict[str, Any]) -> list[str]:
    """p50 in milliseconds, one line per way and place."""
    lengths = sorted({row["length"] for row in result["rows"]})
    cells = {(row["way"], row["where"], row["length"]): f"{row['p50_ms']:.2f}" for row in result["rows"]}
    lines = dict.fromkeys((row["way"], row["where"]) for row in result["rows"])
    header = [f"p50 ms, {result['candidates']:,} candidates", "where", *(f"{length:,} events" for length in lengths)]
    rows = [[LABELS[way], where, *(cells.get((way, where, one), "") for one in lengths)] for way, where in lines]
    return _table(header, rows)


def _peers(result: dict[str, Any]) -> list[str]:
    """Medians over the repetitions, the highest throughput first."""
    header = [
        f"server, {result['repetitions']} runs on one core",
        f"requests/s at p99 ≤ {result['p99_budget_ms']:g} ms",
        "CPU s per 1,000",
        *(f"p50 / p99 ms, {users} user{'s' * (users > 1)}" for users in (1, 8, 32)),
    ]
    rows = [_peer(row) for row in sorted(result["rows"], key=lambda row: -row["throughput_at_p99"])]
    return _table(header, rows)


def _peer(row: dict[str, Any]) -> list[str]:
    low, high = row["throughput_spread"]
    times = [" / ".join(f"{row[f'{p}_ms_{users}']:.1f}" for p in _PERCENTILES) for users in (1, 8, 32)]
    throughput = f"{row['throughput_at_p99']:.0f} ({low:.0f} to {high:.0f})"
    return [row["server"], throughput, f"{row['cpu_seconds_per_1000']:.2f}", *times]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows)]

"""Tables of the studies' committed results."""

import json
from pathlib import Path
from typing import Any

from loadtest import RESULTS
from loadtest.published import table
from recserve.results import cell
from recserve.studies.chime.picture import LABELS as COUNTS
from recserve.studies.freshness.states import OUTCOMES
from recserve.studies.lrea_length.plot import LABELS

_NEW_ITEMS = {"all": "AUC", "cold": "AUC, cold items", "unknown": "AUC, target's id unknown", "drop": "lost without it"}
_CALL = {
    "p50_ms": "p50",
    "p95_ms": "p95",
    "server_cpu_ms": "CPU of the server",
    "client_cpu_ms": "CPU of the client",
}
_QUALITY = ("pruned_share", "recall10", "ndcg10", "consistency")


def length_markdown(folder: Path = RESULTS) -> str:
    """A GitHub table: LREA by the length of the history."""
    return "\n".join(_length(json.loads((folder / "lrea-length.json").read_text())))


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
    return "\n".join(table(header, rows))


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
    return "\n".join([*table(header, rows), "", *table(columns, points)])


def freshness_markdown(folder: Path = RESULTS) -> str:
    """Three GitHub tables: the wait for an answer that knows an event, what one costs, and the reads of the states."""
    result = json.loads((folder / "freshness.json").read_text())
    waits, names = result["latency"], ("p50_ms", "p90_ms", "p99_ms", "max_ms")
    header = [f"beside {waits['rate']:g} questions a second", "events", *(name.replace("_", " ") for name in names)]
    ways = {"push": "pushed", "stream": "through a stream"}
    rows = [
        [said, str(waits[way]["events"]), *(f"{waits[way][name]:.1f}" for name in names)] for way, said in ways.items()
    ]
    spent = [name for name in result["cost"]["stream"] if name.endswith("_us")]
    columns = ["CPU of an event, us", "events/s", *(name.removesuffix("_us") for name in spent)]
    costs = [
        [way.replace("_", " "), f"{one['events_per_s']:,}", *(f"{one[name]:.0f}" for name in spent)]
        for way, one in result["cost"].items()
    ]
    phases = [[str(cell) for cell in one.values()] for one in result["states"]["phases"]]
    tables = (table(header, rows), table(columns, costs), table(["states while", *OUTCOMES], phases))
    return "\n\n".join("\n".join(one) for one in tables)


def counts_markdown(folder: Path = RESULTS) -> str:
    """GitHub tables: CHIME beside LREA and DIN by the length of the history, and the size of a user's state; and
    where the time of its graphs goes."""
    result = json.loads((folder / "chime-length.json").read_text())
    lengths = sorted({row["length"] for row in result["rows"]})
    cells = {(row["way"], row["length"]): f"{row['p50_ms']:.2f}" for row in result["rows"]}
    sizes = result["state_bytes"]
    header = [
        f"p50 ms, {result['candidates']:,} candidates",
        "state, bytes",
        *(f"{length:,} events" for length in lengths),
    ]
    rows = [
        [label, f"{sizes[way]:,}" if way in sizes else "", *(cells[way, one] for one in lengths)]
        for way, label in COUNTS.items()
    ]
    profile = json.loads((folder / "chime-profile.json").read_text())
    shares = [
        [one["graph"], f"{one['events']:,}", f"{one['assignment']:.1%}", f"{one['histogram']:.1%}"]
        for one in profile["rows"]
    ]
    columns = ["share of a graph's time", "events", "assignment to words", "histogram"]
    tables = (table(header, rows), table(columns, shares))
    return "\n\n".join("\n".join(one) for one in tables)


def mending_markdown(folder: Path = RESULTS) -> str:
    """A GitHub table: one request to DGenCTR, to SGCTR and to MATT around it, and what leaves early of its rows and of
    the test part's."""
    result = json.loads((folder / "sgctr-mending.json").read_text())
    title = f"{result['dataset']}, {result['candidates']:,} candidates, seed {result['seeds'][0]}"
    header = [title, "CPU ms", "of base", "of these rows leave early", "of the test rows"]
    rows = [
        [row["way"], f"{row['cpu_ms']:.2f}", f"{row['ratio']:.2f}", *_left(row["early_exit"], result["early_exit"])]
        for row in result["rows"]
    ]
    return "\n".join(table(header, rows))


def finding_markdown(folder: Path = RESULTS) -> str:
    """A GitHub table: a product with all items beside an index."""
    found = json.loads((folder / "ann.json").read_text())
    names = ("exact_cpu_ms", "ann_cpu_ms", "exact_cpu_ms_of_16", "ann_cpu_ms_of_16")
    header = [
        "vectors, items",
        "looked into",
        f"recall@{found['top']}",
        *("exact, CPU ms", "index, CPU ms", "exact, 16 at once", "index, 16 at once"),
        *("index, MiB", "build, CPU s", "served"),
    ]
    rows = [
        [
            f"{one['kind']}, {one['items']:,}",
            f"{one['nprobe']} of {one['factory'].removeprefix('IVF').removesuffix(',SQ8')} lists",
            f"{one['recall']:.4f}",
            *(f"{one[name]:.2f}" for name in names),
            f"{one['index_bytes'] / 2**20:.1f}",
            f"{one['build_cpu_s']:.1f}",
            {"ann": "index", "exact": "exact"}[one["rule"]],
        ]
        for one in found["rows"]
    ]
    return "\n".join(table(header, rows))


def calls_markdown(folder: Path = RESULTS) -> str:
    """A GitHub table: one call beside two."""
    calls = json.loads((folder / "one-call.json").read_text())
    columns = [f"{calls['retrieved']} items ranked, ms of a request", *_CALL.values()]
    parts = [*calls["rows"], {"way": "one of two", **calls["one of two"]}]
    ways = [[one["way"], *(f"{one[name]:.2f}" for name in _CALL)] for one in parts]
    return "\n".join(table(columns, ways))


def _left(request: float | None, test: float) -> list[str]:
    return ["", ""] if request is None else [f"{request:.0%}", f"{test:.0%}"]


def content_markdown(folder: Path = RESULTS) -> str:
    """Three GitHub tables: DMAE on planted clicks, finished runs on cold items, and what its graphs cost."""
    names = ("planted", "cold", "cost")
    planted, cold, cost = (json.loads((folder / f"dmae-{name}.json").read_text()) for name in names)
    tables = (
        _new_items("content drives clicks", planted["rows"]),
        _new_items(f"{cold['dataset']}, {cold['cold_rows']:,} cold rows", cold["rows"]),
        _by_candidates(cost),
    )
    return "\n\n".join("\n".join(one) for one in tables)


def _new_items(title: str, means: list[dict[str, Any]]) -> list[str]:
    rows = [
        [
            f"{one['system']}, {len(one['seeds'])} seeds",
            *(cell(one[figure]) for figure in _NEW_ITEMS),
        ]
        for one in means
    ]
    return table([title, *_NEW_ITEMS.values()], rows)


def _by_candidates(result: dict[str, Any]) -> list[str]:
    cells = {(row["model"], row["candidates"]): f"{row['cpu_ms']:.2f} ({row['ratio']:.2f})" for row in result["rows"]}
    models, counts = (list(dict.fromkeys(places)) for places in zip(*cells, strict=True))
    header = [f"CPU ms (of din), {result['events']} events", *(f"{count:,} candidates" for count in counts)]
    return table(header, [[model, *(cells[model, count] for count in counts)] for model in models])


def _length(result: dict[str, Any]) -> list[str]:
    """p50 in milliseconds, one line per way and place."""
    lengths = sorted({row["length"] for row in result["rows"]})
    cells = {(row["way"], row["where"], row["length"]): f"{row['p50_ms']:.2f}" for row in result["rows"]}
    lines = dict.fromkeys((row["way"], row["where"]) for row in result["rows"])
    header = [f"p50 ms, {result['candidates']:,} candidates", "where", *(f"{length:,} events" for length in lengths)]
    rows = [[LABELS[way], where, *(cells.get((way, where, one), "") for one in lengths)] for way, where in lines]
    return table(header, rows)

"""Tables of measured latency and throughput for docs, out of the committed results."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest import RESULTS

_PERCENTILES = ("p50", "p99")


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
    return "\n".join(table(header, [_fault(one) for one in all_of_it]))


def _fault(one: dict[str, Any]) -> list[str]:
    clean = sum(one["errors"].values()) - one["unclean"]
    counts = [f"{count:,}" for count in (one["requests"], one["ok"], one["wrong"], clean, one["unclean"])]
    return [_FAULTS[one["name"]], *counts, str(one.get("ready_s", "")), str(one.get("restarts", ""))]


_EDGE = {
    "kill_server": "tritonserver of one is killed (SIGKILL)",
    "term_server": "tritonserver of one gets SIGTERM, and nobody drained it",
    "freeze_server": "tritonserver of one is frozen (SIGSTOP)",
    "kill_both": "tritonserver of both is killed at once",
    "kill_serve": "`recserve serve` of one is killed, then started by hand",
    "drain": "`recserve edge drain`, then stopped, started, and back",
    "stop": "SIGTERM to `recserve serve`, of which the edge is not told",
    "shift": "weights 90/10 and 50/50, one drained, the other drained",
    "flip": "clients name a release in a header, and no longer",
    "rude": "rude clients, by the same edge",
}


def edge_markdown(folder: Path = RESULTS) -> str:
    """A GitHub table: what clients of an edge see, each request asked once."""
    result = json.loads((folder / "edge.json").read_text())
    header = ["what happens", "requests", "right", "wrong", "lost", "longest wait, s", "restarts"]
    return "\n".join(table(header, [_edge(one) for one in result["experiments"]]))


def _edge(one: dict[str, Any]) -> list[str]:
    counts = [f"{count:,}" for count in (one["requests"], one["ok"], one["wrong"], sum(one["errors"].values()))]
    return [_EDGE[one["name"]], *counts, f"{one['slowest_s']:.1f}", str(one.get("restarts", ""))]


_LIVE = {
    "nothing_happens": "nothing",
    "kill_consumer": "the consumer is killed, twice",
    "kill_servers": "both tritonservers are killed, one after the other",
    "kill_user_events": "the process of `user_events` is killed",
    "kill_store": "the Valkey of histories and states is killed, and started 3 s later",
    "hang_store": "it hangs for 3 s",
    "full_store": "it is full for 3 s",
    "wiped_store": "it is wiped; data set loaded, stream read again",
    "old_dump": "it comes back with an old dump; stream read again",
    "duplicates": "every event so far comes again, in the reverse order",
    "replay": "the whole stream is read again",
    "two_stores": "two servers with an LMDB each, all events pushed to both",
    "soak": "half an hour of events, and a release a minute, one server",
}


def live_markdown(folder: Path = RESULTS) -> str:
    """A GitHub table: what becomes of events and of answers about their users while things go wrong."""
    faults, soak = (json.loads((folder / f"{name}.json").read_text())["experiments"] for name in ("live", "live-soak"))
    header = [
        "what happens",
        "events",
        "lost",
        "twice",
        "answers",
        "fresh",
        "older",
        "for, s",
        "later",
        "wrong",
        "errors",
    ]
    return "\n".join(table(header, [_lived(one) for one in (*faults, *soak)]))


def _lived(one: dict[str, Any]) -> list[str]:
    counts = [f"{one[name]:,}" for name in ("events", "lost", "double", "asked", "fresh", "older")]
    errors = sum(one["errors"].values())
    rest = [f"{count:,}" for count in (one["later"], one["wrong"], errors)]
    return [_LIVE[one["name"]], *counts, str(one["older_s"] or ""), *rest]


def histories_markdown(folder: Path = RESULTS) -> str:
    """A GitHub table: the stores of histories side by side."""
    result = json.loads((folder / "histories.json").read_text())
    header = ["store", "events", "bytes an event", "loaded, events/s", *_HISTORIES]
    return "\n".join(table(header, [_store(one) for one in result["rows"]]))


_HISTORIES = {
    "append one, us p50 / p99": "append_1",
    "append for 64 users": "append_64",
    "read one": "read_1",
    "read 64 users": "read_64",
}


def _store(one: dict[str, Any]) -> list[str]:
    times = [f"{one[f'{name}_us_p50']:,.0f} / {one[f'{name}_us_p99']:,.0f}" for name in _HISTORIES.values()]
    return [one["store"], f"{one['events']:,}", str(one["bytes_per_event"]), f"{one['load_events_per_s']:,}", *times]


def peers_markdown(folder: Path = RESULTS) -> str:
    """GitHub tables: the servers side by side, under Locust's mixed traffic and under h2load's one request."""
    return "\n\n".join("\n".join(_peers(json.loads((folder / name).read_text()))) for name in PEERS)


PEERS = ("peers.json", "peers-h2load-100.json", "peers-h2load-1000.json")
"""Results of `recserve bench peers`; those of h2load by the candidates of its request."""


def _peers(result: dict[str, Any]) -> list[str]:
    """Medians over the repetitions, the highest throughput first."""
    header = [
        f"{_client(result)}: server, {result['repetitions']} runs on one core",
        f"requests/s at p99 ≤ {result['p99_budget_ms']:g} ms",
        "CPU s per 1,000",
        *(f"p50 / p99 ms, {users} user{'s' * (users > 1)}" for users in (1, 8, 32)),
    ]
    rows = [_peer(row) for row in sorted(result["rows"], key=lambda row: -row["throughput_at_p99"])]
    return table(header, rows)


def _client(result: dict[str, Any]) -> str:
    return f"h2load, {result['candidates']} candidates" if result.get("client") == "h2load" else "Locust"


def _peer(row: dict[str, Any]) -> list[str]:
    low, high = row["throughput_spread"]
    times = [" / ".join(f"{row[f'{p}_ms_{users}']:.1f}" for p in _PERCENTILES) for users in (1, 8, 32)]
    throughput = f"{row['throughput_at_p99']:.0f} ({low:.0f} to {high:.0f})"
    return [row["server"], throughput, f"{row['cpu_seconds_per_1000']:.2f}", *times]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a GitHub table."""
    return ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows)]

"""What the server itself says of a load run: time by part and model, Prometheus counters, processor time."""

import re
import time
import urllib.request
from collections.abc import Mapping
from typing import NamedTuple, Self

import psutil

from serving import tally
from serving.admin import Admin, InferStats
from serving.server import TritonServer

_SERIES = re.compile(r"^(\w+)\{(.*)\} (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_COUNTED = ("recserve_", "nv_inference_request_", "nv_inference_exec_count", "nv_inference_pending")
"""Prefixes of the metrics that a report shows."""
_DISTRIBUTIONS = ("recserve_score_", "recserve_user_state_age_seconds_bucket", "nv_inference_request_summary_us")
"""Prefixes of those that it does not: a report has its own latencies, and answers are compared, not counted by size."""


class Snapshot(NamedTuple):
    """Counters since the start of the server."""

    statistics: Mapping[str, InferStats]
    metrics: Mapping[str, float]
    cpu_seconds: float

    @classmethod
    def of(cls, server: TritonServer, client: Admin) -> Self:
        """Needs a client with the admin key."""
        time.sleep(2 * tally.PERIOD_S)  # what the backends counted is on its way
        statistics = {model: client.statistics(model) for model in client.model_names()}
        return cls(statistics, read_metrics(server.metrics_url), cpu_seconds(server.process.pid))

    def server_split(self, before: Self) -> dict[str, dict[str, float]]:
        """Per model mean microseconds of a request's parts; models that answered nothing are left out."""
        found = {}
        for model, stats in self.statistics.items():
            delta = InferStats(*(now - then for now, then in zip(stats, before.statistics[model], strict=True)))
            if delta.success:
                found[model] = _split(delta)
        return found

    def metrics_delta(self, before: Self) -> dict[str, float]:
        """Counters that moved, by name and labels."""
        moved = {name: value - before.metrics.get(name, 0.0) for name, value in self.metrics.items()}
        return {name: value for name, value in sorted(moved.items()) if value and is_counted(name)}


def is_counted(name: str) -> bool:
    """Whether a report shows this series."""
    return name.startswith(_COUNTED) and not name.startswith(_DISTRIBUTIONS)


def _split(delta: InferStats) -> dict[str, float]:
    parts = {
        "queue_us": delta.queue_ns,
        "input_us": delta.compute_input_ns,
        "infer_us": delta.compute_infer_ns,
        "output_us": delta.compute_output_ns,
    }
    means = {name: round(ns / 1e3 / delta.success, 1) for name, ns in parts.items()}
    return {"requests": delta.success, "executions": delta.executions, **means}


def read_metrics(url: str) -> dict[str, float]:
    """Prometheus' text at `url` as {name{label=value,...}: value}; label `version` is summed over."""
    with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - the server's own address
        text = response.read().decode()
    found: dict[str, float] = {}
    for match in filter(None, map(_SERIES.match, text.splitlines())):
        labels = [f"{name}={value}" for name, value in _LABEL.findall(match[2]) if name != "version"]
        key = f"{match[1]}{{{','.join(labels)}}}"
        found[key] = found.get(key, 0.0) + float(match[3])
    return found


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and all that it started, those included that ended and were waited for."""
    total = 0.0
    for process in [root := psutil.Process(pid), *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total

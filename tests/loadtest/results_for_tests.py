"""A made-up result of `recserve bench` with the shapes that real ones have; nothing in it was measured."""

from typing import Any

import numpy as np

FLOOR_MS = 1.5
SERVICE_MS = 2.2
"""Median of a request that waits for nobody."""
CAPACITY = 700.0
"""Requests/s beyond which the queue of the made-up server fills up."""
OVERLOAD_MS = 180.0
"""What a request waits in a full queue."""
BUDGET_MS = 20.0
SECONDS = 10
CLOSED = (1, 8, 32)
OFFERED = (100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 650.0, 800.0)

_ENSEMBLE = "lrea"
_STEPS = {"lrea_state": 0.1, "lrea_scorer": 0.8, "lrea_encoder": 0.02}
"""Share of the ensemble's time."""


def synthetic(
    closed: tuple[int, ...] = CLOSED,
    offered: tuple[float, ...] = OFFERED,
    slower: float = 1.0,
    wrong: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """A result with these closed- and open-loop runs on a server `slower` times as slow; the wrong answers are those
    of the first run."""
    generator = np.random.default_rng(seed)
    runs = [_closed(generator, users, slower) for users in closed]
    runs += [_open(generator, rate, slower) for rate in offered]
    if runs:
        runs[0] |= {"wrong": wrong, "ok": runs[0]["requests"] - wrong}
    kept = [run["offered"] for run in runs if run["offered"] and not run["errors"] and run["p99_ms"] <= BUDGET_MS]
    return {
        "scenario": "lrea",
        "recorded": "2026-11-22T02:50:00Z",
        "kind": "load",
        "versions": {"python": "3.11.2", "tritonserver": "2.51.0", "onnxruntime-gpu": "1.24.1", "numpy": "1.26.4"},
        "hardware": {"cpu": "Intel(R) Xeon(R) Processor @ 2.90GHz", "cores": 2, "memory_gib": 23.4, "kernel": "6.1.0"},
        "pinning": {"server": [0], "load": [1]},
        "traffic": {
            "requests": 512,
            "users": 400,
            "size": {"p50": 98, "p95": 520, "max": 1000},
            "distribution": "users by their share of events; candidates log-normal, 1 to 1,000",
        },
        "floor": {
            "what": "direct ONNX Runtime in this process, same requests, 1 thread",
            "p50_ms": FLOOR_MS,
            "p95_ms": 2.1 * FLOOR_MS,
            "p99_ms": 2.9 * FLOOR_MS,
        },
        "runs": runs,
        "sweep": {"p99_budget_ms": BUDGET_MS, "highest_rate": max(kept, default=None)},
    }


def _closed(generator: np.random.Generator, users: int, slower: float) -> dict[str, Any]:
    rate = min(1000 * users / SERVICE_MS, 1.05 * CAPACITY) / slower
    waiting_ms = max(0.0, 1000 * users / rate - SERVICE_MS * slower)
    return _run(generator, {"mode": "closed", "users": users, "offered": None}, rate, waiting_ms, slower)


def _open(generator: np.random.Generator, offered: float, slower: float) -> dict[str, Any]:
    load = offered * slower / CAPACITY
    waiting_ms = SERVICE_MS * load / (1 - load) / 2 if load < 0.97 else OVERLOAD_MS
    run = _run(generator, {"mode": "open", "users": None, "offered": offered}, offered, waiting_ms, slower)
    if load < 1:
        return run
    rejected = int(run["requests"] * (1 - 1 / load))
    errors = {"QueueFull": rejected, "DeadlineExceeded": 3}
    return run | {"ok": run["requests"] - rejected - 3, "errors": errors, "rate": offered / load}


def _run(
    generator: np.random.Generator, load: dict[str, Any], rate: float, waiting_ms: float, slower: float
) -> dict[str, Any]:
    count = max(1, int(rate * SECONDS))
    service = SERVICE_MS * slower * generator.lognormal(0, 0.35, count)
    latency = service + waiting_ms * generator.gamma(2.0, 0.5, count)  # [N] ms
    p50, p90, p95, p99 = (float(value) for value in np.percentile(latency, (50, 90, 95, 99)))
    shares = np.linspace(0.0, 1.0, 200)
    return load | {
        "seconds": float(SECONDS),
        "requests": count,
        "rate": rate,
        "ok": count,
        "wrong": 0,
        "errors": {},
        "p50_ms": p50,
        "p90_ms": p90,
        "p95_ms": p95,
        "p99_ms": p99,
        "max_ms": float(latency.max()),
        "lag_p99_ms": 0.4,
        "over_floor": {"p50": p50 / FLOOR_MS, "p99": p99 / (2.9 * FLOOR_MS)},
        "cpu_seconds_per_1000": 1.9 * slower,
        "server": _split(count, waiting_ms, slower),
        "metrics": _metrics(count),
        "cdf": np.stack([np.quantile(latency, shares), shares], axis=1).tolist(),
        "over_time": [_second(number, part) for number, part in enumerate(np.array_split(latency, SECONDS))],
    }


def _split(count: int, waiting_ms: float, slower: float) -> dict[str, dict[str, float]]:
    """Model -> mean microseconds per request; the ensemble's are its steps' together, without their queues."""
    return {
        name: {
            "requests": count,
            "executions": max(1, int(count / (1 + waiting_ms))),
            "queue_us": 2.0 if name == _ENSEMBLE else 900 * waiting_ms * share,
            "input_us": 90 * slower * share,
            "infer_us": 1400 * slower * share,
            "output_us": 40 * slower * share,
        }
        for name, share in {_ENSEMBLE: sum(_STEPS.values()), **_STEPS}.items()
    }


def _metrics(count: int) -> dict[str, float]:
    return {
        "recserve_user_state_reads_total{outcome=hit}": float(count - count // 50),
        "recserve_user_state_reads_total{outcome=miss}": float(count // 50),
        "recserve_user_state_reads_total{outcome=stale}": 0.0,
        "nv_inference_request_success{model=lrea,version=1}": float(count),
        "nv_inference_request_failure{model=lrea,reason=REJECTED}": 0.0,
        "nv_inference_exec_count{model=lrea_scorer,version=1}": float(count // 3),
        "nv_inference_queue_duration_us{model=lrea_scorer,version=1}": 412.5 * count,
    }


def _second(number: int, latency: np.ndarray) -> dict[str, float]:
    p50, p99 = np.percentile(latency, (50, 99)) if latency.size else (0.0, 0.0)
    return {"second": number, "rate": float(latency.size), "p50_ms": float(p50), "p99_ms": float(p99)}

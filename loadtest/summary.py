"""From a load run's records to the figures of a result."""

from typing import Any

import numpy as np

from loadtest.records import Records

PERCENTILES = (50, 90, 95, 99)
_CDF_POINTS = 200


def summarise(records: Records, seconds: float) -> dict[str, Any]:
    """Rates, outcomes and latency percentiles; percentiles are None where nothing was answered right."""
    right = records.latency[records.ok]
    return {
        "seconds": seconds,
        "requests": len(records.latency),
        "rate": round(len(right) / seconds, 2),
        "ok": len(right),
        "wrong": records.wrong,
        "errors": records.errors,
        **percentiles(right),
        "max_ms": round(float(right.max()), 4) if len(right) else None,
        "lag_p99_ms": round(float(np.percentile(records.lag, 99)), 3) if len(records.lag) else None,
        "cdf": cdf(right),
        "over_time": over_time(records),
    }


def percentiles(milliseconds: np.ndarray) -> dict[str, float | None]:
    """p50_ms to p99_ms of [N]."""
    values = np.percentile(milliseconds, PERCENTILES) if len(milliseconds) else [None] * len(PERCENTILES)
    return {f"p{p}_ms": None if v is None else round(float(v), 4) for p, v in zip(PERCENTILES, values, strict=True)}


def cdf(milliseconds: np.ndarray) -> list[list[float]]:
    """(milliseconds, share of requests at most that long); the tail in finer steps."""
    if not len(milliseconds):
        return []
    shares = np.unique(np.concatenate([np.linspace(0, 0.99, _CDF_POINTS - 30), 1 - np.logspace(-2, -4, 30), [1.0]]))
    values = np.quantile(milliseconds, shares)
    return [[round(float(value), 4), round(float(share), 5)] for value, share in zip(values, shares, strict=True)]


def over_time(records: Records) -> list[dict[str, float | None]]:
    """Rate and percentiles of each second, by when the requests were meant to be sent."""
    second = records.intended.astype(int)
    rows = []
    for now in range(int(second.max()) + 1 if len(second) else 0):
        own = records.latency[(second == now) & records.ok]
        p50, p99 = np.percentile(own, (50, 99)).round(4).tolist() if len(own) else (None, None)
        rows.append({"second": now, "rate": len(own), "p50_ms": p50, "p99_ms": p99})
    return rows

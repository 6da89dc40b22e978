"""What is measured of each server, and how much."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from loadtest.peers.environments import PEERS
from loadtest.transports import OURS
from serving.options import Backend

NATIVE = f"{OURS}-native"
"""Our server with the scorer in its own process, `recserve serve --backend native`."""
OWN: Mapping[str, Backend] = {OURS: "python", NATIVE: "native"}
"""Our servers."""
SERVERS = (*OWN, *PEERS)
PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")
Generator = Literal["locust", "h2load"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured."""

    servers: tuple[str, ...] = SERVERS
    repetitions: int = 5
    users: tuple[int, ...] = (1, 8, 32)
    """Closed loops."""
    p99_budget_ms: float = 20.0
    """Of the open loops that look for the highest rate."""
    seconds: float = 2.0
    """Of each run, after its warm-up."""
    warm_up: float = 1.0
    sweep_steps: int = 2
    """Open loops beside the closed ones; each halves the interval in which the highest rate lies."""
    seed: int = 0
    client: Generator = "locust"
    """Load generator: Locust, which compares every answer, or h2load, which takes far less time itself and repeats one
    request in closed loops alone."""
    candidates: int = 100
    """Of h2load's request."""


class Visit(NamedTuple):
    """What one server showed in one repetition."""

    throughput: float
    """Requests per second: the highest rate, of any loop, with p99 within the budget; 0 where no loop kept it."""
    cpu_seconds: float
    """Per 1,000 requests, over all closed loops."""
    closed: dict[int, dict[str, float]]
    """Users -> percentiles of latency."""
    wrong: int
    errors: int
    """Of the closed loops: an open loop beyond what a server can do may fail."""
    late: bool
    """Whether the load generator sent late at the lowest rate that broke the budget: the limit may be its own."""


class Target(NamedTuple):
    """A server to be measured."""

    url: str
    transport: str
    pid: int

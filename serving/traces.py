"""Where traces go, and which requests are traced.

The backends trace, not tritonserver: with tracing on, 2.51 crashes or hangs now and then (measured: once in some ten
thousand traced requests, whatever the collector does), so its own is left off.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

SERVICE = "recserve"
HEADER = "traceparent"
"""W3C's; tritonserver hands it to the backends as a parameter of the request."""
URL, RATE = "RECSERVE_TRACES", "RECSERVE_TRACE_RATE"
"""Environment variables in which the backends find the collector, and how many requests are traced."""


@dataclass(frozen=True, kw_only=True)
class Traces:
    """To an OpenTelemetry collector nearby, as OTLP over HTTP in JSON."""

    url: str
    """Such as http://127.0.0.1:4318/v1/traces."""
    rate: int = 1000
    """One request of so many of a model, and beside them each that says so itself, in its header traceparent; 0 for
    those alone."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "http" or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ValueError("traces: the URL of a collector is http://HOST:4318/v1/traces, without user and password")
        if self.rate < 0:
            raise ValueError(f"trace_rate is {self.rate}; it must be 0 or more")

    @property
    def environment(self) -> dict[str, str]:
        """Of tritonserver, and so of its backends."""
        return {URL: self.url, RATE: str(self.rate)}

    @property
    def flags(self) -> list[str]:
        """Of tritonserver's command line."""
        return [f"--grpc-header-forward-pattern={HEADER}"]

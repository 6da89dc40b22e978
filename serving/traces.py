"""Where traces go, and which requests are traced."""

from dataclasses import dataclass
from urllib.parse import urlsplit

SERVICE = "recserve"
URL = "RECSERVE_TRACES"
"""Environment variable in which the backends find the collector."""
_DELAY_MS = 500
"""How long tritonserver keeps a span at most."""


@dataclass(frozen=True, kw_only=True)
class Traces:
    """To an OpenTelemetry collector nearby, as OTLP over HTTP in JSON."""

    url: str
    """Such as http://127.0.0.1:4318/v1/traces."""
    rate: int = 1000
    """One request of so many, and beside them each that says so itself, in its header traceparent; 0 for those
    alone."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "http" or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ValueError("traces: the URL of a collector is http://HOST:4318/v1/traces, without user and password")
        if self.rate < 0:
            raise ValueError(f"trace_rate is {self.rate}; it must be 0 or more")

    @property
    def environment(self) -> dict[str, str]:
        """Of tritonserver, and so of its backends."""
        return {URL: self.url}

    @property
    def flags(self) -> list[str]:
        """Of tritonserver's command line."""
        said = (
            "mode=opentelemetry",
            f"opentelemetry,url={self.url}",
            f"opentelemetry,resource=service.name={SERVICE}",
            f"opentelemetry,bsp_schedule_delay={_DELAY_MS}",
            "level=TIMESTAMPS",
            f"rate={self.rate}",
        )
        return [f"--trace-config={one}" for one in said]

"""The metrics of a process, as the server would hold them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from serving.watch.prometheus import Prometheus


class MetricFamily:
    """What tritonserver's Python backend calls so; its series add up."""

    COUNTER, GAUGE = "counter", "gauge"
    told: ClassVar[dict[tuple[str, ...], float]] = {}

    def __init__(self, name: str, description: str, kind: str) -> None:
        self.name, self.kind = name, kind

    def Metric(self, labels: dict[str, str]) -> Any:  # noqa: N802 - its name there
        return _Metric(self, (self.name, *labels.values()))


class _Metric:
    def __init__(self, family: MetricFamily, key: tuple[str, ...]) -> None:
        self._family, self._key = family, key
        MetricFamily.told.setdefault(key, 0.0)

    def increment(self, number: float) -> None:
        assert self._family.kind == "counter"
        assert number >= 0
        MetricFamily.told[self._key] += number

    def set(self, number: float) -> None:
        assert self._family.kind == "gauge"
        MetricFamily.told[self._key] = number


class Backend:
    MetricFamily = MetricFamily


@contextmanager
def counting() -> Iterator[Prometheus]:
    """Closed at the end, when all has been told; `MetricFamily.told` has it by name and labels."""
    MetricFamily.told.clear()
    prometheus = Prometheus(Backend)
    yield prometheus
    prometheus.close()

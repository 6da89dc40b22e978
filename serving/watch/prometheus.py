"""Series of the server's metrics, as a process of its Python backend adds to them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from serving.tally import Tally
from serving.watch.families import Family


class Prometheus:
    """The families of one process; counters reach the server a moment later, from a thread of their own."""

    def __init__(self, backend: Any) -> None:
        """`backend` is `triton_python_backend_utils`."""
        self._backend = backend
        # The server drops a family, with its series, when the last reference to it goes.
        self._families: dict[str, Any] = {}
        self._series: dict[str, Any] = {}
        self._tally: Tally | None = None

    def counter(self, family: Family, *values: str) -> Callable[[float], None]:
        """A series by the values of its family's labels, there from now on at zero: (how many more)."""
        tally = self._tally = self._tally or Tally(lambda what, number: self._series[what].increment(number))
        return partial(tally.add, self._opened(family, values))

    def gauge(self, family: Family, *values: str) -> Callable[[float], None]:
        """A series by the values of its family's labels: (what it is now); tells the server at once, some 0.1 ms."""
        return self._series[self._opened(family, values)].set

    def close(self) -> None:
        """Tells the server what was counted last."""
        if self._tally is not None:
            self._tally.close()

    def _opened(self, family: Family, values: Sequence[str]) -> str:
        labels = dict(zip(family.labels, values, strict=True))
        what = f"{family.name} {labels}"
        if what not in self._series:
            self._series[what] = self._family(family).Metric(labels=labels)
        return what

    def _family(self, family: Family) -> Any:
        if family.name not in self._families:
            kinds = self._backend.MetricFamily
            kind = kinds.COUNTER if family.kind == "counter" else kinds.GAUGE
            self._families[family.name] = kinds(name=family.name, description=family.help, kind=kind)
        return self._families[family.name]

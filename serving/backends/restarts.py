"""How often the server was started again, for Prometheus: only a model can add to the server's metrics."""

import os

from serving.watch import families
from serving.watch.prometheus import Prometheus

VARIABLE = "RECSERVE_RESTARTS"
"""Environment variable with the number."""


def tell(prometheus: Prometheus) -> None:
    """The series is there as long as the model is loaded; every model sets the same one to the same value."""
    prometheus.gauge(families.RESTARTS)(int(os.environ.get(VARIABLE, "0")))

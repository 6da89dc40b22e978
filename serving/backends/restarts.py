"""How often the server was started again, for Prometheus: only a model can add to the server's metrics."""

import os
from typing import Any

VARIABLE = "RECSERVE_RESTARTS"
"""Environment variable with the number."""
_NAME = "recserve_server_restarts"
_DESCRIPTION = "Restarts of tritonserver after a fault, since recserve serve was started"


def gauge(backend: Any) -> Any:
    """The gauge, to be held as long as the model is loaded; `backend` is `triton_python_backend_utils`.

    Every model sets the same series to the same value.
    """
    family = backend.MetricFamily(name=_NAME, description=_DESCRIPTION, kind=backend.MetricFamily.GAUGE)
    metric = family.Metric(labels={})
    metric.set(int(os.environ.get(VARIABLE, "0")))
    return family, metric

"""What keeps a measurement from being made; no fault of the command, which says it in one line."""


class MeasurementError(RuntimeError):
    """A server of a measurement did not come up, or a load generator gave nothing to measure."""

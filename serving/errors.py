"""What can go wrong between a client and tritonserver, as exceptions that say what to do."""

# Named by what happened, as in `except QueueFull`.


class ServingError(RuntimeError):
    """Base of everything that a call to the server raises."""


class InvalidRequest(ServingError):
    """The request itself is wrong; the same request fails again."""


class QueueFull(ServingError):
    """The model's queue is full or the request waited too long in it; retry later, with back-off."""


class DeadlineExceeded(ServingError):
    """No answer within the call's deadline."""


class ServerUnavailable(ServingError):
    """Nobody answers at the address, or the connection broke during the call."""


class ModelUnavailable(ServingError):
    """The server runs and does not serve this model (or this version of it)."""


class StaleState(ServingError):
    """A float output holds NaN: a state of another model version, or an input that is not a number."""


class ServerFailure(ServingError):
    """The server failed in a way that has no better name; its log says more."""


class StartupError(ServingError):
    """tritonserver did not come up, or a model did not answer its golden requests right."""

"""What can go wrong between a client and the server, as exceptions that say what to do."""

# Named by what happened, as in `except QueueFull`.


class ServingError(RuntimeError):
    """Base of everything that a call to the server raises."""

    request_id: str | None = None
    """Of the request that failed, by which the logs of edge and server know it; None where none was made."""

    def say_more(self, text: str) -> None:
        """Adds to what it says."""
        self.args = (f"{self.args[0]}; {text}",)

    def __str__(self) -> str:
        text = super().__str__()
        return text if self.request_id is None else f"{text} (request {self.request_id})"


class InvalidRequest(ServingError):
    """The request itself is wrong; the same request fails again."""


class QueueFull(ServingError):
    """The model's queue is full or the request waited too long in it; retry later, with back-off."""


class RateLimited(ServingError):
    """Something before the server, such as an edge, lets no more requests through; send fewer."""


class NotAllowed(ServingError):
    """Who asks may not ask this."""


class NotAuthenticated(NotAllowed):
    """Who asks is not known: a token is missing, has expired, or is of somebody else's making."""


class DeadlineExceeded(ServingError):
    """No answer within the call's deadline."""


class ServerUnavailable(ServingError):
    """Nobody answers at the address, or the connection broke during the call."""


class TlsMismatch(ServerUnavailable):
    """Somebody is there, and client and server do not agree on TLS: one speaks it alone, or refuses the other's
    certificate."""


class ModelUnavailable(ServingError):
    """The server runs and does not serve this model (or this version of it)."""


class StaleState(ServingError):
    """A float output holds NaN: a state of another model version, or an input that is not a number."""


class ServerFailure(ServingError):
    """The server failed in a way that has no better name; its log says more."""

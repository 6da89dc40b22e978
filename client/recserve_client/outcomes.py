"""What one call can come to besides its reply."""

MAX_OVERDUE = 256
"""Calls past their deadline and still under way that one server may have; each holds its request in memory."""


class Outcome(Exception):
    """Base of all of them."""


class Overdue(Outcome):
    """The caller's deadline passed; the call goes on."""


class TooManyOverdue(Outcome):
    """`MAX_OVERDUE` calls are past their deadline and still under way, so no further one is sent."""


class Closed(Outcome):
    """The channel was closed."""


class Failed(Outcome):
    """The call ended with another status than OK."""

    def __init__(self, code: str, details: str) -> None:
        """`code` is the name of the status."""
        super().__init__(code, details)
        self.code, self.details = code, details

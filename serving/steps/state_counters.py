"""What a step that answers with users' states counts, for Prometheus."""

from collections.abc import Callable
from typing import NamedTuple, Self

from serving.steps.step import Host

NO_HISTORY = "no_history"
READ_OUTCOMES = ("hit", "miss", "stale", "corrupt", "store_error", NO_HISTORY)
WRITE_OUTCOMES = ("written", "failed", "no_store")


class Counters(NamedTuple):
    """Where is counted what came of the store."""

    read: Callable[[str, int], None]
    """(outcome, how many)."""
    written: Callable[[str, int], None]
    """(outcome, how many)."""
    evicted: Callable[[float], None]
    ages_s: Callable[[float], None]
    """Of the states that answered, together."""
    aged: Callable[[float], None]
    """How many these are."""
    observed: Callable[[float], None]
    """Events by which states were brought up to date."""

    @classmethod
    def of(cls, host: Host, model: str) -> Self:
        """Those of a model, for Prometheus."""
        return cls(
            host.counter("recserve_user_state_reads_total", "Reads of the user-state store", model, READ_OUTCOMES),
            host.counter("recserve_user_state_writes_total", "Writes of user states", model, WRITE_OUTCOMES),
            host.total("recserve_user_state_evictions_total", "User states that had to go for others", model),
            host.total(
                "recserve_user_state_age_seconds_sum",
                "Seconds since the states were written that answered, together",
                model,
            ),
            host.total("recserve_user_state_age_seconds_count", "User states that answered", model),
            host.total(
                "recserve_user_state_observed_events_total", "Events that were added to stored user states", model
            ),
        )

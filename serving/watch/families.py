"""All families of metrics that are our own, which a server adds to tritonserver's: what they count, and their labels.

No label holds an id of a user or an item, so their number is bounded by models, versions and the words listed here.
"""

from typing import Literal, NamedTuple


class Family(NamedTuple):
    """One family of Prometheus."""

    name: str
    kind: Literal["counter", "gauge"]
    labels: tuple[str, ...]
    """In order."""
    help: str


_MODEL, _OUTCOME, _VERSION = ("model",), ("model", "outcome"), ("model", "version")

RESTARTS = Family(
    "recserve_server_restarts", "gauge", (), "Restarts of tritonserver after a fault, since recserve serve was started"
)
RELEASE_INFO = Family(
    "recserve_release_info",
    "gauge",
    ("model", "version", "system", "dataset", "run"),
    "1 for each version of each model that is loaded, and what it was made of",
)
REFUSALS = Family(
    "recserve_refusals_total", "counter", ("model", "reason"), "Requests that got an error in place of an answer"
)
ASKED_USERS = Family("recserve_asked_users_total", "counter", _MODEL, "Users of answered requests")
UNKNOWN_USERS = Family(
    "recserve_unknown_users_total", "counter", _MODEL, "Users of answered requests of whom the release has nothing"
)
ASKED_ITEMS = Family("recserve_asked_items_total", "counter", _MODEL, "Candidates of answered requests")
UNKNOWN_ITEMS = Family(
    "recserve_unknown_items_total", "counter", _MODEL, "Candidates of answered requests that the release does not know"
)
SCORE_BUCKET = Family(
    "recserve_score_bucket",
    "counter",
    ("model", "version", "le"),
    "Finite scores that were answered, of at most le; the buckets of a histogram",
)
SCORE_COUNT = Family("recserve_score_count", "counter", _VERSION, "Finite scores that were answered")
SCORE_NOT_FINITE = Family(
    "recserve_score_not_finite_total", "counter", _VERSION, "Scores that were answered and are NaN or infinite"
)
SCORE_BIN = Family(
    "recserve_score_bin_total",
    "counter",
    ("model", "version", "bin"),
    "Finite scores that were answered, by the bin of the release's reference that they fall into",
)
SCORE_EXPECTED = Family(
    "recserve_score_expected",
    "gauge",
    ("model", "version", "bin", "source"),
    "Share of the reference's scores in a bin; source: example requests of the release, or a log of requests",
)
SCORE_DRIFT = Family(
    "recserve_score_drift",
    "gauge",
    ("model", "version", "source"),
    "Population stability index of the newest scores against the reference; NaN before 1,000 requests",
)
STATE_READS = Family("recserve_user_state_reads_total", "counter", _OUTCOME, "Reads of the user-state store")
STATE_WRITES = Family("recserve_user_state_writes_total", "counter", _OUTCOME, "Writes of user states")
STATE_EVICTIONS = Family(
    "recserve_user_state_evictions_total", "counter", _MODEL, "User states that had to go for others, of LMDB"
)
STATE_AGE_BUCKET = Family(
    "recserve_user_state_age_seconds_bucket",
    "counter",
    ("model", "le"),
    "User states that answered, written at most le seconds before; with _sum and _count a histogram",
)
STATE_AGE_SUM = Family(
    "recserve_user_state_age_seconds_sum",
    "counter",
    _MODEL,
    "Seconds since the states were written that answered, together",
)
STATE_AGE_COUNT = Family("recserve_user_state_age_seconds_count", "counter", _MODEL, "User states that answered")
STATE_OBSERVED = Family(
    "recserve_user_state_observed_events_total", "counter", _MODEL, "Events that were added to stored user states"
)
HISTORY_READS = Family(
    "recserve_user_history_reads_total", "counter", _OUTCOME, "Users whose history was asked for, by what answered"
)
USER_EVENTS = Family("recserve_user_events_total", "counter", _OUTCOME, "Events that were pushed, by what came of them")
_STEP = ("model", "step")
STEP_RUNS = Family(
    "recserve_step_runs_total", "counter", _STEP, "Runs of a step inside an ensemble, each for a dynamic batch"
)
STEP_REQUESTS = Family("recserve_step_requests_total", "counter", _STEP, "Requests that a step was given")
STEP_REFUSALS = Family("recserve_step_refusals_total", "counter", _STEP, "Requests that a step refused")
STEP_SECONDS = Family("recserve_step_seconds_total", "counter", _STEP, "Time that a step took, together")
SPANS = Family("recserve_spans_total", "counter", _OUTCOME, "Spans of models and their steps, by what became of them")
LOG_RECORDS = Family(
    "recserve_request_log_records_total", "counter", _OUTCOME, "Requests that were drawn for the request log"
)

FAMILIES = (
    RESTARTS,
    RELEASE_INFO,
    REFUSALS,
    ASKED_USERS,
    UNKNOWN_USERS,
    ASKED_ITEMS,
    UNKNOWN_ITEMS,
    SCORE_BUCKET,
    SCORE_COUNT,
    SCORE_NOT_FINITE,
    SCORE_BIN,
    SCORE_EXPECTED,
    SCORE_DRIFT,
    STATE_READS,
    STATE_WRITES,
    STATE_EVICTIONS,
    STATE_AGE_BUCKET,
    STATE_AGE_SUM,
    STATE_AGE_COUNT,
    STATE_OBSERVED,
    HISTORY_READS,
    USER_EVENTS,
    STEP_RUNS,
    STEP_REQUESTS,
    STEP_REFUSALS,
    STEP_SECONDS,
    SPANS,
    LOG_RECORDS,
)

"""What a task needs of a data set: a view refuses one that lacks it, `recserve data check` says what to add."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from training.data.columns import feature_layout
from training.interactions import Interactions
from training.schema import Role, Use, size_of


class Need(NamedTuple):
    """One thing without which a task cannot use a data set."""

    what: str
    given: Callable[[Interactions], bool]
    remedy: str
    """What to add to own tables and their `schema.toml`."""


def _has(role: Role, *uses: Use) -> Callable[[Interactions], bool]:
    return lambda data: any(data.schema.of(use, role) for use in uses)


USERS = Need("ids of users", _has("user", "key"), 'user = "..." under [events]')
ITEMS = Need("ids of items", _has("item", "key"), 'item = "..." under [events]')
LABEL = Need(
    "a label",
    _has("event", "label"),
    'label = "..." (a column of 0 and 1), or value = "..." with positive = ">= 4", under [events]',
)
TIME = Need("a time", _has("event", "time"), 'time = "..." under [events]')
MOMENT = Need("a time or an order", _has("event", "time", "order"), 'time = "..." or order = "..." under [events]')
MOMENT_OR_PART = Need(
    "a time, an order or given parts",
    _has("event", "time", "order", "part"),
    'time = "..." or order = "..." or part = "..." under [events]',
)
CONCEPTS = Need(
    "concepts of items",
    _has("item", "concept"),
    'concepts = "..." (a column of lists, or of texts "sum|carry") under [events], or where there is a table of items '
    'skills = { kind = "multi", use = "concept" } under [items.fields]',
)
TEXTS = Need(
    "texts of items", lambda data: data.load_content is not None, 'a field of kind "text" under [items.fields]'
)

SCENARIOS = Need(
    "two scenarios or more",
    lambda data: any(size_of(field) > 2 for role in ("event", "item") for field in data.schema.of("scenario", role)),
    'scenario = "..." under [events], or use = "scenario" of a field under [items.fields], with two names or more',
)
FIELDS = Need(
    "fields beside the ids of users and items",
    lambda data: any("key" not in field.uses for field in feature_layout(data.schema).fields),
    "one under [items.fields] or [users.fields]",
)
NO_EVENT_FIELDS = Need(
    "events without fields of their own",
    lambda data: not _has("event", "feature", "profile", "scenario")(data),
    "a copy of them with no [events.fields] and no scenario",
)


def lacking(interactions: Interactions, needs: Sequence[Need]) -> list[Need]:
    """Those that are not met, in order."""
    return [need for need in needs if not need.given(interactions)]


def require(interactions: Interactions, task: str, needs: Sequence[Need]) -> None:
    """Raises ValueError, naming what is missing and what to add, where needs are not met."""
    if found := lacking(interactions, needs):
        lacks, remedies = " and ".join(need.what for need in found), "; ".join(need.remedy for need in found)
        raise ValueError(f"{interactions.name} cannot be used for {task}: it lacks {lacks}; own tables: add {remedies}")

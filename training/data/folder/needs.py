"""What each task needs of a data set, and what to add to `schema.toml` where it is missing."""

from collections.abc import Callable
from typing import NamedTuple

from training.interactions import Interactions
from training.schema import Role, Use

_LABEL = 'label = "..." (a column of 0 and 1), or value = "..." with positive = ">= 4", under [events]'
_TIME = 'time = "..." under [events]'
_MOMENT = 'time = "..." or order = "..." under [events]'
_CONCEPT = 'skills = { kind = "multi", use = "concept" } under [items.fields]'
_TEXT = 'a field of kind "text" under [items.fields]'


class Need(NamedTuple):
    """One thing without which a task cannot use a data set."""

    what: str
    given: Callable[[Interactions], bool]
    remedy: str


class Missing(NamedTuple):
    """A need that is not met."""

    what: str
    remedy: str


def _use(role: Role, *uses: Use) -> Callable[[Interactions], bool]:
    return lambda data: any(data.schema.of(use, role) for use in uses)


TASKS: dict[str, tuple[Need, ...]] = {
    "click": (Need("a label", _use("event", "label"), _LABEL), Need("a time", _use("event", "time"), _TIME)),
    "next_item": (Need("a time or an order", _use("event", "time", "order"), _MOMENT),),
    "semantic_ids": (Need("texts of items", lambda data: data.load_content is not None, _TEXT),),
    "retrieval": (Need("a time", _use("event", "time"), _TIME),),
    "tracing": (
        Need("a label (the response)", _use("event", "label"), _LABEL),
        Need("concepts of items", _use("item", "concept"), _CONCEPT),
        Need("a time or an order", _use("event", "time", "order"), _MOMENT),
    ),
}
"""Events without a label are positives to next_item and retrieval."""


def missing(interactions: Interactions) -> dict[str, list[Missing]]:
    """What each task lacks; nothing where it can use the data set."""
    return {
        task: [Missing(need.what, need.remedy) for need in needs if not need.given(interactions)]
        for task, needs in TASKS.items()
    }

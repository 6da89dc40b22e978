"""The scenario of events: where they took place, or what kind of item they are about.

A field with the use "scenario" says it, an event's before an item's. Ids are the field's, 0 is unknown, and 0 is the
scenario of all where no field says it.

Axes: B samples, N events, I items.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from training.data.log import Log
from training.interactions import Interactions
from training.schema import Field, Schema, size_of


class Scenario(NamedTuple):
    """Scenarios of a data set."""

    field: Field | None
    of_event: np.ndarray | None
    """int64 [N] by place in the log; None where the events' own fields do not say it."""
    of_item: np.ndarray
    """int64 [I + 1]; zeros where items do not say it."""

    def of(self, places: np.ndarray, item: np.ndarray) -> np.ndarray:
        """int64 [B]: of the events at these places, which are about these items."""
        return self.of_item[item] if self.of_event is None else self.of_event[places]

    def asked(self, values: Mapping[str, np.ndarray], item: np.ndarray) -> np.ndarray:
        """int64 [B]: of a request about these items, by the values of the fields that it carries, each [1]."""
        if self.field is None or self.of_event is None:
            return self.of_item[item]
        return np.full(len(item), values[self.field.name].item() if self.field.name in values else 0, np.int64)


def scenario_field(schema: Schema) -> Field | None:
    """The field that says the scenario; None where none does."""
    return next((field for role in ("event", "item") for field in schema.of("scenario", role)), None)


def num_scenarios(schema: Schema) -> int:
    """Scenarios of a data set, the unknown one among them; 1 where no field says it."""
    field = scenario_field(schema)
    return 1 if field is None else size_of(field)


def scenario_of(interactions: Interactions, log: Log) -> Scenario:
    """The scenarios of a data set."""
    field = scenario_field(interactions.schema)
    of_item = np.zeros(len(interactions.items), np.int64)
    if field is None:
        return Scenario(None, None, of_item)
    if field.role == "item":
        return Scenario(field, None, interactions.items[field.name].to_numpy().astype(np.int64))
    return Scenario(field, interactions.events[field.name].to_numpy().astype(np.int64)[log.row], of_item)

"""Releases of untrained systems whose users do more than what was exported."""

from collections.abc import Mapping, Sequence
from functools import cache

import polars as pl
import torch

from tests.training.following_views import LIKED, rated_fields
from training.data.planted_clicks import planted_clicks
from training.interactions import Interactions
from training.registry import system
from training.servable import Origin, Signature, of_origin
from training.system import Wanted, prepare

LATER = int(planted_clicks().events["time"].to_numpy().max()) + 10
SMALL = {"dim": 8, "hidden": (8, 4)}
SIZES = {
    "lrea": {**SMALL, "heads": 2, "rank": 4, "max_length": 12},
    "din": {**SMALL, "max_length": 12},
    "din_ages": {**SMALL, "max_length": 12},
    "chime": {**SMALL, "width": 16, "depth": 1, "window": 6, "interest": 8, "levels": 2, "words": 8, "recent": 6},
    "dea": SMALL,
    "deepfm": SMALL,
    "matt": {**SMALL, "base": "deepfm", "paths": 3},
}
SERVED = ("lrea", "din", "din_ages", "chime", "dea")
"""The others answer in this process, beside the server and out of the same store."""
OVER_FIELDS = ("dea", "deepfm", "matt")
"""Systems that read the users' fields, of which some follow from histories, and no history itself."""
PUSHED = {3: [(7, 4), (9, 4), (11, 2)], 5: [(1, 4)] * 30}
"""Items and values by user: a few, of which the last is not liked, and more than a model reads."""
NEW = len(planted_clicks().users)
FIELDS = ("last_item", "last_shelf", "last_liked")


def events_of(pushed: Mapping[int, Sequence[tuple[int, int]]]) -> pl.DataFrame:
    rows = [
        (user, item, value, LATER + place, float(value >= LIKED))
        for user, events in pushed.items()
        for place, (item, value) in enumerate(events)
    ]
    made = pl.DataFrame(rows, schema=["user", "item", "value", "time", "label"], orient="row")
    return made.cast({n: t for n, t in planted_clicks().events.schema.items() if n in made.columns})


@cache
def known(*, pushed: bool) -> Interactions:
    """What the data set holds, and a new user with one event, where `pushed`."""
    return rated_fields(events_of({**PUSHED, NEW: [(7, 5)]}), new_users=1) if pushed else rated_fields()


@cache
def release(name: str, *, pushed: bool = False) -> tuple[Signature, ...]:
    """An untrained system with weights that matter; its users did more than the planted events where `pushed`."""
    chosen, planted = system(name), known(pushed=False)
    config = chosen.config(**SIZES[name])
    wanted = Wanted(chosen.reads, getattr(config, "max_length", 1), {})
    data = chosen.task.view(planted, wanted)
    torch.manual_seed(0)
    module = chosen.build(config, data.schema)
    prepare(module, data)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    if pushed:
        data = chosen.task.view(known(pushed=True), wanted)
    origin = Origin(system=name, task=chosen.task.name, schema=data.schema)
    return of_origin(chosen.release(module.eval(), config, data), origin)

"""What CHIME serves, see `training.layers.prestored`: the user's state is a histogram of codes and the newest codes.

Beside the scorer, chime_interests says what the words of a state stand for.
"""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from training.data.click import ClickData
from training.layers.click_release import plain_release
from training.layers.prestored import Answers, Histories, fits, history_specs, prestored, rows_of, stamp_of
from training.layers.requests import asked
from training.servable import Packed, Servable, Signature, TensorSpec, servable
from training.steps.rows import Rows
from training.steps.user_state import BEFORE, STAMP
from training.systems.chime.compressor import Config
from training.systems.chime.model import CHIME
from training.systems.chime.served import Encoder, Interests, Observer, Plain, Scorer

NAMES_OF_A_WORD = 3
"""Items that say what a word stands for."""
_OF_EVENTS = ("history_items", "history_values", "history_ages")


def state_specs(config: Config) -> tuple[TensorSpec, ...]:
    """1.7 kB of a user with the default sizes."""
    newest = (config.recent, config.levels)
    return (
        TensorSpec(name="counts", dtype="int32", shape=(config.levels, config.words), minimum=0),
        TensorSpec(name="recent", dtype="int32", shape=newest, minimum=-1, maximum=config.words - 1),
        TensorSpec(name="profile_vector", dtype="float32", shape=(config.dim,)),
        STAMP,
    )


def answers(model: CHIME, histories: Rows, dtype: torch.dtype, stamp: int) -> Answers:
    """Of a copy in one dtype."""
    own = copy.deepcopy(model).to(dtype).eval()
    return Answers(encoder=Encoder(own, stamp).eval(), scorer=Scorer(own, stamp).eval(), histories=histories)


def servables(name: str, model: CHIME, config: Config, data: ClickData) -> tuple[Signature, ...]:
    """The six models of a release; the plain ones where a prestored state does not know all of a request."""
    if not fits(data):
        return plain_release(name, Plain(model), data)
    stamp, rows = stamp_of(model), rows_of(data)
    served, exact = (answers(model, rows, dtype, stamp) for dtype in (torch.float32, torch.float64))
    observer = observing(name, model, served, data)
    release = prestored(name, data, model, state_specs(config), served, exact, observer)
    return interests(name, model, served, data), *release


def observing(name: str, model: CHIME, served: Answers, data: ClickData) -> Servable:
    """The graph that adds one event to a state."""
    config = model.config
    history = {spec.name: spec for spec in history_specs(data) if spec.name.startswith("history_")}
    tail = min(config.tail, data.max_length)
    events = tuple(replace(history[one], shape=(tail,)) for one in _OF_EVENTS)
    states = state_specs(config)
    return servable(
        name=f"{name}_observer",
        module=Observer(model),
        inputs=(
            *events,
            replace(history["history_length"], maximum=tail),
            *(replace(spec, name=f"{BEFORE}{spec.name}") for spec in states),
        ),
        outputs=states,
        example=Arrivals(served, data, tail),
    )


class Arrivals:
    """Seeded requests to the observer: the newest event of a history arrives at the state before it."""

    def __init__(self, served: Answers, data: ClickData, tail: int) -> None:
        names = tuple(spec.name for spec in history_specs(data))
        self._served, self._names, self._tail = served, names, tail
        users = Users(served.histories, data)
        self._histories = Histories(rows=served.histories, names=names, draw=users)

    def __call__(self, batch_size: int, seed: int) -> Packed:
        history = dict(zip(self._names, self._histories(batch_size, seed), strict=True))
        length = history["history_length"].clamp(min=1)
        known = [history[one][:, : self._tail] for one in _OF_EVENTS]
        before = without_newest(history)
        state = self._served.encode(*(before[one] for one in self._names))
        return *known, length.clamp(max=self._tail), *state


class Users:
    """Ids of users [B, 1] who have a history, by a seed."""

    def __init__(self, rows: Rows, data: ClickData) -> None:
        everybody = torch.arange(1, len(data.interactions.users))[:, None]
        self._users = everybody

    def __call__(self, batch_size: int, seed: int) -> Packed:
        random = np.random.default_rng(seed)
        return (self._users[torch.from_numpy(random.integers(0, len(self._users), batch_size))],)


def without_newest(history: dict[str, Tensor]) -> dict[str, Tensor]:
    """Histories as they were before their newest event."""
    length = (history["history_length"] - 1).clamp(min=0)
    places = torch.arange(history["history_items"].shape[1])
    moved = {one: torch.nn.functional.pad(history[one][:, 1:], (0, 1)) for one in _OF_EVENTS}
    moved["history_ages"] = moved["history_ages"] - moved["history_ages"][:, :1]
    cut = {one: torch.where(places < length, part, 0) for one, part in moved.items()}
    return {**history, **cut, "history_length": length}


def interests(name: str, model: CHIME, served: Answers, data: ClickData) -> Servable:
    """The graph that says what words stand for."""
    config, item = model.config, asked(data.interactions).candidates
    most = min(NAMES_OF_A_WORD, len(data.interactions.items) - 1)
    states = {spec.name: spec for spec in state_specs(config)}
    draw: Callable[[int, int], Packed] = Users(served.histories, data)

    def example(batch_size: int, seed: int) -> Packed:
        counts, recent, *_ = served.encode(*served.histories.of(*draw(batch_size, seed)))
        random = np.random.default_rng([seed, 1])
        return torch.from_numpy(random.integers(1, len(data.interactions.items), (batch_size, 1))), counts, recent

    return servable(
        name=f"{name}_interests",
        module=Interests(model, most),
        inputs=(
            TensorSpec(name="item", dtype="int64", shape=(1,), ids=item.ids, minimum=item.minimum),
            states["counts"],
            states["recent"],
        ),
        outputs=(
            TensorSpec(name="weights", dtype="float32", shape=(config.words,)),
            TensorSpec(name="in_all", dtype="int32", shape=(config.words,)),
            TensorSpec(name="of_late", dtype="int32", shape=(config.words,)),
            TensorSpec(name="items", dtype="int64", shape=(config.words, most), ids=item.ids),
        ),
        example=example,
    )

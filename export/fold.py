"""The rung `fold`: states that the observer made event by event, against those of the encoder that read it all.

Of exported histories: of each user asked one more event at several lengths, and for the longest history every event
from the first on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.direct import DirectModel
from serving.histories.reading import AGES, LENGTH, NAMES
from serving.state.observing import BEFORE
from serving.state.source import StateSource
from serving.versions import served_version

LENGTHS = (1, 2, 7, 64, 65)
"""Events of a history after the one that is added, beside the whole history."""
LOOKED_AT = 500
"""Users among whom the longest histories are looked for."""
USERS = 8
STEPS = 100
"""Events that are added one after the other, at most."""
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Fold:
    """A user-state model whose states take one event, in this process."""

    source: StateSource
    encoder: DirectModel
    observer: DirectModel

    @classmethod
    def of(cls, model: Path, target: str) -> "Fold | None":
        """None where states are computed anew."""
        folder = served_version(model)
        source = StateSource(folder, model.name, int(folder.name))
        spec = source.spec
        if spec.observer is None:
            return None
        encoder, observer = (
            DirectModel.open(model.parent / name, target, folder.name) for name in (spec.encoder, spec.observer)
        )
        return cls(source, encoder, observer)

    def pairs(self) -> Iterator[tuple[str, Arrays, Arrays]]:
        """What is compared, the encoder's state, and the observer's."""
        users = self._users()
        for user in users:
            history = self._history(user)
            number = int(history[LENGTH].item())
            for length in sorted({*LENGTHS, number}):
                if 0 < length <= number:
                    before = self.encoded(oldest(history, length - 1))
                    after = oldest(history, length)
                    yield f"event {length} of user {user}", self.encoded(after), self.observed(before, after)
        for user in users[:1]:
            history = self._history(user)
            state = self.encoded(oldest(history, 0))
            number = min(STEPS, int(history[LENGTH].item()))
            for length in range(1, number + 1):
                state = self.observed(state, oldest(history, length))
            yield f"{number} events of user {user}", self.encoded(oldest(history, number)), state

    def encoded(self, history: Arrays) -> Arrays:
        """The state of a history."""
        return self.encoder.run([history])[0]

    def observed(self, before: Arrays, history: Arrays) -> Arrays:
        """The state before the newest event of a history, with that event."""
        tail, names = self.source.spec.tail, {*self.source.spec.inputs} & {*NAMES, AGES}
        newest = {name: history[name][:, :tail] for name in names - {LENGTH}}
        newest[LENGTH] = np.minimum(history[LENGTH], tail)
        return self.observer.run([{**newest, **{f"{BEFORE}{name}": array for name, array in before.items()}}])[0]

    def _users(self) -> list[int]:
        """Those with the longest history, the shortest one, and some between."""
        known = self.source.histories.user_ids
        some = known[np.unique(np.linspace(0, len(known) - 1, LOOKED_AT).astype(int))].tolist()
        lengths = [(int(self._history(user)[LENGTH].item()), user) for user in some]
        ordered = [user for length, user in sorted(lengths, reverse=True) if length]
        return [ordered[place] for place in np.unique(np.linspace(0, len(ordered) - 1, USERS).astype(int))]

    def _history(self, user: int) -> Arrays:
        found = self.source.histories.of(user)
        assert found is not None
        return found


def oldest(history: Arrays, number: int) -> Arrays:
    """A history [1, ...] as it was after so many events."""
    newer = int(history[LENGTH].item()) - number
    cut = dict(history)
    for name in history.keys() & {*NAMES, AGES} - {LENGTH}:
        cut[name] = np.zeros_like(history[name])
        cut[name][:, :number] = history[name][:, newer : newer + number]
    if AGES in cut:
        cut[AGES][:, :number] -= cut[AGES][:, :1]
    return {**cut, LENGTH: np.full_like(history[LENGTH], number)}

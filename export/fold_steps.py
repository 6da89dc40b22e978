"""The rung `fold` of a model that is also published answer by answer, against the same model over the whole history.

`<name>_start`, `<name>_step` and `<name>_ask` leave the state in the caller's hands; `<name>` reads all answers at
once.
Of each golden request of `<name>`: the state of its user before any answer, then every answer of its history, then its
questions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from serving.direct import DirectModel
from serving.golden import Golden
from serving.versions import served_version

NEXT = "next_"
"""What the step's outputs are called before the names of the state's parts."""
_PARTS = ("start", "step", "ask")
_USER, _HISTORY, _RESPONSES, _QUESTIONS = "user_id", "history", "responses", "questions"
Arrays = dict[str, np.ndarray]


class Runs(Protocol):
    """A model in this process."""

    def run(self, requests: Sequence[Arrays], /) -> list[Arrays]: ...


@dataclass(frozen=True)
class StepFold:
    """A model and its parts, in this process."""

    whole: Runs
    start: Runs
    step: Runs
    ask: Runs
    goldens: Sequence[Golden]
    """Of `whole`."""

    @classmethod
    def of(cls, model: Path, target: str, goldens: Sequence[Golden]) -> "StepFold | None":
        """None for a model without such parts of the same version."""
        version = served_version(model).name
        parts = [model.parent / f"{model.name}_{part}" for part in _PARTS]
        if not all((part / version).is_dir() for part in parts):
            return None
        if not {_USER, _HISTORY, _RESPONSES, _QUESTIONS} <= {*goldens[0].inputs}:
            return None
        start, step, ask = (DirectModel.open(part, target, version) for part in parts)
        return cls(DirectModel.open(model, target, version), start, step, ask, goldens)

    def pairs(self) -> Iterator[tuple[str, Arrays, Arrays]]:
        """What is compared, the answer from the whole history, and that from the state."""
        for number, one in enumerate(self.goldens):
            asked = one.inputs
            yield (
                f"{asked[_HISTORY].size} answers of golden {number}",
                self.whole.run([asked])[0],
                self.ask.run([{**self.state(asked), _QUESTIONS: asked[_QUESTIONS]}])[0],
            )

    def state(self, asked: Arrays) -> Arrays:
        """The state after all answers of a request."""
        state = self.start.run([{_USER: asked[_USER]}])[0]
        for question, response in zip(asked[_HISTORY].T, asked[_RESPONSES].T, strict=True):
            answer = {"question": question[None], "response": response[None]}
            stepped = self.step.run([{**state, **answer}])[0]
            state = {name.removeprefix(NEXT): part for name, part in stepped.items()}
        return state

"""Any model of a repository, answered in this process: the floor under every served latency, and what parity compares.

A graph runs as in `serving.direct`, a step and an ensemble's steps as in the backend `fused`. States that a step has
computed are remembered, so that a user who asks again has the state at hand, as with a store that has it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from serving.backends.fused.chain import open_model
from serving.configs import FUSED, read_config
from serving.direct import DirectModel
from serving.histories.guard import GuardedHistories
from serving.histories.histories import Histories
from serving.histories.opening import histories_beside
from serving.state.states import Entry, Lookup, Read, States, Written
from serving.steps import kind_of
from serving.steps.step import NotAnsweredError, Refusal, Step, Tensors
from serving.versions import served_version
from serving.watch.families import Family


class Remembered:
    """States in this process's memory, as many as were written."""

    def __init__(self) -> None:
        self._states: dict[Lookup, Mapping] = {}

    def get_many(self, lookups: Sequence[Lookup]) -> list[Read]:
        """Answers in order."""
        return [
            Read("hit", dict(self._states[lookup])) if lookup in self._states else Read("miss") for lookup in lookups
        ]

    def put_many(self, entries: Sequence[Entry]) -> Written:
        """Keeps all entries."""
        self._states |= {entry.lookup: entry.arrays for entry in entries}
        return Written("written")

    def close(self) -> None:
        """What was kept is forgotten."""
        self._states.clear()


class Here:
    """What is around a step in this process: the graphs of its repository, and nobody who counts."""

    def __init__(self, repository: Path, target: str) -> None:
        self._repository = repository
        self._target = target
        self._graphs: dict[tuple[str, int], DirectModel] = {}
        self._histories: Histories | None = None
        self.keeps_states = False
        """Whether a step asked for a place to keep states."""

    def ask(self, model: str, version: int, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """The answer of one of the repository's graphs. Raises NotAnsweredError."""
        try:
            if (model, version) not in self._graphs:
                opened = DirectModel.open(self._repository / model, self._target, str(version))
                self._graphs[model, version] = opened
            answer = self._graphs[model, version].run([inputs])[0]
        except ValueError as error:
            raise NotAnsweredError(f"{model} version {version} failed: {error}") from error
        return {name: answer[name] for name in outputs}

    def counter(self, family: Family, model: str, outcomes: Sequence[str]) -> Callable[[str, int], None]:
        """Nothing is counted."""
        return lambda outcome, number: None

    def total(self, family: Family, model: str) -> Callable[[float], None]:
        """Nothing is counted."""
        return lambda number: None

    def states(self, model: str) -> States:
        """A memory for this model."""
        self.keeps_states = True
        return Remembered()

    def histories(self) -> Histories | None:
        """The store beside the repository; it is not made where there is none."""
        if self._histories is None:
            self._histories = Histories(GuardedHistories(histories_beside(self._repository), create=False))
        return self._histories


def runs_here(model: Path, target: str = "cpu") -> bool:
    """Whether a model can be opened in this process; a kernel form and somebody's own Python model cannot."""
    backend = read_config(model, target).backend
    return backend in ("onnxruntime", FUSED, "") or kind_of(model) is not None


class InProcessModel:
    """One version of a model, as the server would run it."""

    def __init__(self, step: Step, *, keeps_states: bool) -> None:
        self._step = step
        self.keeps_states = keeps_states
        """Whether a request is answered faster when its user has asked before."""

    @classmethod
    def open(cls, model: Path, target: str = "cpu", version: str | None = None) -> Self:
        """A version in a model's folder, the newest by default. Raises ValueError where it cannot run here."""
        here = Here(model.parent, target)
        step = open_model(here, model, version or served_version(model).name, target)
        return cls(step, keeps_states=here.keeps_states)

    def run(self, requests: Sequence[Tensors]) -> list[Tensors]:
        """The answers to requests [1, ...] as one batch. Raises ValueError for the first that is refused."""
        answers = []
        for answer in self._step.answer(requests):
            if isinstance(answer, Refusal):
                raise ValueError(answer.reason)
            answers.append(answer)
        return answers

    def close(self) -> None:
        """Gives back what it holds."""
        self._step.close()

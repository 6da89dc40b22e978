"""The contracts of training: what a view of a data set, a stage, a task and a paper's system are."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from torch import Tensor, nn

from training.asking import Course, Infer, Question, Shown, Tensors
from training.interactions import Interactions
from training.needs import Need
from training.schema import Schema
from training.servable import Signature


class Split(Protocol):
    """A part of a data set: samples that can be asked for by number."""

    def __len__(self) -> int: ...

    def batch(self, rows: np.ndarray) -> NamedTuple: ...

    def cost(self) -> np.ndarray:
        """int64 [len]: the relative cost of each sample (its history's length); batches group like with like."""
        ...


class Data(Protocol):
    """A task's view of a data set, split without leakage."""

    @property
    def interactions(self) -> Interactions:
        """The data set."""
        ...

    @property
    def schema(self) -> Schema:
        """Its fields, and those that the view adds."""
        ...

    @property
    def train(self) -> Split: ...

    @property
    def validation(self) -> Split: ...

    @property
    def test(self) -> Split: ...


@runtime_checkable
class Prepared(Protocol):
    """What a task's protocol asks of every module, beside what the task's own docstring says."""

    def prepare(self, data: Data, /) -> None:
        """Fills buffers (vocabulary, popularity, means) from the training part."""
        ...


def prepare(module: nn.Module, data: Data) -> None:
    """Fills a module's buffers from the training part."""
    assert isinstance(module, Prepared)
    module.prepare(data)


Loss = Callable[..., tuple[Tensor, dict[str, Tensor]]]
"""(module, batch, share of the stage done in [0, 1)) -> (scalar loss, scalars to log)."""
Predict = Callable[..., np.ndarray]
"""(module, split) -> what the module answers, float32 [len(split), ...] in sample order."""


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Some of a stage's parameters that move otherwise than the rest."""

    parameters: Callable[[nn.Module], Iterable[nn.Parameter]]
    learning_rate: float
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One phase of training."""

    name: str
    loss: Loss
    parameters: Callable[[nn.Module], Iterable[nn.Parameter]] = nn.Module.parameters
    groups: tuple[ParameterGroup, ...] = ()
    """Exceptions from `learning_rate` and `weight_decay`."""
    epochs: int = 10
    batch_size: int = 1024
    learning_rate: float = 1e-3
    schedule: Literal["constant", "linear"] = "constant"
    """linear: every rate rises over the first 2 % of the steps and then falls to zero."""
    weight_decay: float = 0.0
    samples: Callable[..., Split] = lambda data: data.train
    """(data) -> what an epoch goes through."""
    patience: int = 2
    """Epochs without a better `monitor` before the stage stops; the best weights are kept."""
    monitor: str
    direction: Literal["max", "min"] = "max"
    """Of a better `monitor`."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table of results."""

    title: str
    metric: str
    direction: Literal["max", "min"] | None = "max"
    """Of a better value; None where neither is better."""
    judges: bool = False
    """Whether a system is compared with its baseline by it."""


class Wanted(NamedTuple):
    """What a system wants of its task's view."""

    reads: frozenset[str]
    """Parts of the view that cost something, each by the task's name for it: "history", "features"."""
    max_length: int
    """Of histories: the newest events."""
    given: Mapping[str, Tensor]
    """What other systems' runs gave (`System.products`), by name."""
    split: str = ""
    """The task's name of another split than its own, where a configuration asks for one by `split`."""


PLAIN = Wanted(frozenset(), 1_000, {})
"""Nothing that costs something."""

D = TypeVar("D", bound=Data)
S = TypeVar("S", bound=Split)


class Task(ABC, Generic[D, S]):
    """One kind of question. An object of it has all that systems of the kind have in common."""

    name: str
    title: str
    columns: tuple[Column, ...]
    further: tuple[Column, ...] = ()
    """Columns of which a data set may have none."""
    only_drawn: frozenset[str] = frozenset()
    """Metrics that a picture shows, and no table for people."""
    default: str
    """Name of the data set where nobody says one."""
    needs: tuple[Need, ...]
    """What `view` requires of a data set."""
    traffic: str
    """What `questions` draws from, in words."""
    person: str = "user"
    """What a user is called."""

    @abstractmethod
    def view(self, interactions: Interactions, wanted: Wanted) -> D:
        """The data set as the task sees it, split by the task's protocol. Raises ValueError naming what is missing."""

    @abstractmethod
    def tested(self, interactions: Interactions) -> str:
        """What the test part of the view has, in a few words: how much of it, and how it is chosen. Raises ValueError
        as `view`."""

    @abstractmethod
    def planted(self, seed: int = 0) -> Interactions:
        """A small set with a structure that a model of the task can learn in seconds; nothing is downloaded."""

    @abstractmethod
    def stage(self, config: object) -> Stage:
        """The one stage that most systems of the task have."""

    @abstractmethod
    def evaluate(self, module: nn.Module, predict: Predict, split: S) -> dict[str, float]:
        """Metrics of a split, among them those of `columns`."""

    @abstractmethod
    def request(self, interactions: Interactions, question: Question) -> Tensors:
        """What a client sends to ask that, by raw ids. Raises ValueError naming what the question lacks."""

    @abstractmethod
    def shown(self, interactions: Interactions, question: Question, request: Tensors, answer: Tensors) -> Shown:
        """The answer as a table, best first."""

    @abstractmethod
    def questions(
        self, interactions: Interactions, random: np.random.Generator, count: int, most: int
    ) -> list[Question]:
        """What users ask under load, with the skew of the data set; `most` candidates each at most."""

    @abstractmethod
    def release(self, name: str, module: nn.Module, data: D) -> tuple[Signature, ...]:
        """The plain served form of any module of the task's protocol, in the order in which it must be published, the
        model that clients ask for last, called `name`; its fp64 twin is the reference of the ladder's first rung."""

    def beside(self, interactions: Interactions, request: Tensors, answer: Tensors) -> list[Shown]:
        """Further tables of the same answer."""
        return []

    def towards(self, shown: Shown, target: float) -> Shown:
        """What `shown` gave, by nearness of the answer to a probability. Raises ValueError for a task whose answers
        are none."""
        raise ValueError(f"--target: the answers of the task {self.name} are no probabilities; leave it out")

    def explained(
        self, infer: Infer, model: str, interactions: Interactions, request: Tensors, answer: Tensors
    ) -> list[Shown]:
        """Tables that say why, of any system that has none of its own, see `System.explained`."""
        return []

    def course(self, infer: Infer, model: str, interactions: Interactions, request: Tensors) -> Course:
        """How what the model says of the user went from event to event. Raises ValueError where it says nothing of a
        user by himself."""
        raise ValueError(f"--picture: nothing that the task {self.name} says of a user has a course; leave it out")

    def listed_by_user(self, name: str, module: nn.Module, data: D, top: int) -> tuple[Signature, ...]:
        """A retriever that is asked by user, as `training.retriever.by_user`, the model `name` last. Raises ValueError
        for a task whose models do not list."""
        raise ValueError(f"a model of the task {self.name} lists nothing of its own accord; it can rank")


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A system whose run another one builds on; trained first, with the same seed."""

    system: str
    config: dict[str, object]
    """What differs from its defaults."""


@dataclass(frozen=True, kw_only=True)
class System:
    """One paper (or baseline): everything the command line needs to train, evaluate and serve it."""

    name: str
    title: str
    paper: str
    """Where it comes from: an arXiv URL; empty where it is our design."""
    provenance: str
    """What a source states, what is reconstructed and what is our design."""
    task: Task
    config: type
    """A frozen dataclass with the defaults."""
    baseline: str | Callable[..., str] | None
    """Name of the system it must beat, or (config) -> that; None for a baseline."""
    controls: tuple[str, ...] = ()
    """Systems that lack its mechanism and differ in nothing else, or in little."""
    build: Callable[..., nn.Module]
    """(config, schema) -> module with its shapes settled; buffers derived from data are empty until `prepare(data)`."""
    reads: frozenset[str] = frozenset()
    """Parts of the task's view, as `Wanted.reads`."""
    needs: tuple[Need, ...] = ()
    """What it, or its release, requires of a data set beyond its task's needs."""
    stages: Callable[..., Sequence[Stage]] | None = None
    """(config) -> stages, where they are not the task's one."""
    stages_by_schema: Callable[..., Sequence[Stage]] | None = None
    """(config, schema) -> stages, where what there is to train follows from the data set, such as its objectives."""
    evaluate: Callable[..., dict[str, float]] | None = None
    """(module, predict, split) -> metrics, where they are more than the task's."""
    columns: tuple[Column, ...] = ()
    """Own columns, beside the task's."""
    view: Callable[..., Data] = lambda data: data
    """(the task's view) -> the form of it that the stages and the evaluation take."""
    upstream: Callable[..., tuple[Upstream, ...]] = lambda config: ()
    """(config) -> the runs it builds on; their products are in `Wanted.given`."""
    products: Callable[..., dict[str, Tensor]] | None = None
    """(module, data) -> what a finished run leaves for the systems that build on it, by name."""
    served: Callable[..., tuple[Signature, ...]] | None = None
    """(name, module, config, data) -> a faster release than the task's plain one."""
    explained: Callable[..., list[Shown]] | None = None
    """(infer, model, interactions, request, answer) -> tables that say why, beyond fields of users and items."""
    quick: Mapping[str, object] = field(default_factory=dict)
    """Settings with which it trains on planted data and is exported in seconds, where the defaults take longer."""
    gpu: object | None = None
    """Configuration of a run for an accelerator; the defaults are for two CPU cores."""
    variant: Callable[..., str] = field(default=lambda config: "")
    """(config) -> name of the variant that a configuration chooses, for tables; empty for the default."""

    def baseline_of(self, config: object) -> str | None:
        """The system that a run must beat."""
        return self.baseline(config) if callable(self.baseline) else self.baseline

    def stages_of(self, config: object, schema: Schema | None = None) -> Sequence[Stage]:
        """The stages of a run; those that follow from the data set need its schema."""
        if self.stages_by_schema:
            assert schema is not None, f"the stages of {self.name} follow from the data set"
            return self.stages_by_schema(config, schema)
        return self.stages(config) if self.stages else (self.task.stage(config),)

    def measure(self, module: nn.Module, predict: Predict, split: Split) -> dict[str, float]:
        """Metrics of a split."""
        return (self.evaluate or self.task.evaluate)(module, predict, split)

    def release(self, module: nn.Module, config: object, data: Data) -> tuple[Signature, ...]:
        """What a run publishes."""
        if self.served:
            return self.served(self.name, module, config, data)
        return self.task.release(self.name, module, data)

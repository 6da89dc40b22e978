"""The plain served form of any module of the task `tracing`.

    <name>_start   user_id -> state
    <name>_step    state, question, response -> next state (its names with `next_` before them)
    <name>_ask     state, questions -> probabilities, mastery
    <name>         user_id, history (questions), responses, questions -> probabilities, mastery

The first three keep a student at constant cost for each answer, with the state wherever the caller keeps it; the last
one answers from the whole history. Probabilities are of right answers; mastery is of concepts 1 to C.

Legend: B requests, H answers packed over them, Q questions packed over them, S students, C concepts, D axes of a part
of the state.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch, TracingData
from training.layers.histories import newest
from training.layers.items import known
from training.layers.ragged import requests
from training.layers.tracer import Tracer, fold, legal
from training.servable import Packed, Signature, TensorSpec, servable

MAX_ANSWERS = 500
"""Of the history of one request; who has more keeps the state."""
MAX_QUESTIONS = 5_000
"""Of one request."""
MAX_BATCH_SIZE = 8
"""Requests of a run of `<name>`, each of which is read as if it had the answers of all of them."""
USER_ID = TensorSpec(name="user_id", dtype="int64", shape=(1,))
"""Any int64: one of whom no answer trained is a new student."""
HISTORY = TensorSpec(
    name="history", dtype="int64", shape=("history",), ragged=True, minimum=0, max_elements=MAX_ANSWERS
)
HISTORY_OFFSETS = TensorSpec(name="history_offsets", dtype="int32", shape=(), of="history")
RESPONSES = TensorSpec(
    name="responses",
    dtype="int64",
    shape=("history",),
    ragged=True,
    minimum=0,
    maximum=1,
    max_elements=MAX_ANSWERS,
)
RESPONSE_OFFSETS = TensorSpec(name="responses_offsets", dtype="int32", shape=(), of="responses")
QUESTIONS = TensorSpec(
    name="questions", dtype="int64", shape=("questions",), ragged=True, minimum=0, max_elements=MAX_QUESTIONS
)
QUESTION_OFFSETS = TensorSpec(name="questions_offsets", dtype="int32", shape=(), of="questions")
PROBABILITIES = TensorSpec(name="probabilities", dtype="float32", shape=("questions",), ragged=True, of="questions")
QUESTION = TensorSpec(name="question", dtype="int64", shape=(1,), minimum=0)
RESPONSE = TensorSpec(name="response", dtype="int64", shape=(1,), minimum=0, maximum=1)
_UNKNOWN = 2**40
_EDGE_LENGTHS = (1, 0, 1, 5, 4, 2, 6, MAX_ANSWERS)
"""Answers of the first requests. The longest comes late: the exporter, which takes a small batch, walks through a
recurrent network place by place."""
_UNKNOWN_ROW = 3


class _Served(nn.Module):
    """A tracer, and what it may know each student as."""

    students: Int64[Tensor, " S+1"]

    def __init__(self, module: nn.Module, data: TracingData) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("students", torch.from_numpy(data.students))

    @property
    def tracer(self) -> Tracer[Packed]:
        return cast(Tracer[Packed], self.module)

    def known(self, user_id: Int[Tensor, "B 1"]) -> Int64[Tensor, " B"]:
        """Students as the tracer knows them."""
        return self.students.index_select(0, known(user_id[:, 0], self.students.shape[0]))


class _Start(_Served):
    def forward(self, user_id: Int[Tensor, "B 1"]) -> Packed:
        return self.tracer.start(self.known(user_id))


class _WithState(_Served):
    """One that is given the state's parts."""

    def __init__(self, module: nn.Module, data: TracingData, state: Packed) -> None:
        """`state` is any."""
        super().__init__(module, data)
        self.parts, self.kind = len(state), type(state)

    def state(self, parts: Sequence[Tensor]) -> Packed:
        """The parts as the tracer names them."""
        return cast(Callable[..., Packed], self.kind)(*parts[: self.parts])


class _Step(_WithState):
    def forward(self, *tensors: Tensor) -> Packed:
        question, response = tensors[self.parts :]
        state = self.state(tensors)
        possible = legal(self.tracer, state)[:, None]
        stepped = self.tracer.step(state, question[:, 0], response[:, 0])
        return tuple(torch.where(possible, part, torch.nan) if part.is_floating_point() else part for part in stepped)


class _Ask(_WithState):
    def forward(self, *tensors: Tensor) -> Packed:
        questions, offsets = tensors[self.parts :]
        state = self.state(tensors)
        return asked_of(self.tracer, state, questions, offsets, legal(self.tracer, state))


class _Trace(_Served):
    def forward(  # noqa: PLR0913 - the inputs of the graph
        self,
        user_id: Int[Tensor, "B 1"],
        history: Int[Tensor, " H"],
        history_offsets: Int[Tensor, " B"],
        responses: Int[Tensor, " H"],
        responses_offsets: Int[Tensor, " B"],
        questions: Int[Tensor, " Q"],
        questions_offsets: Int[Tensor, " B"],
    ) -> Packed:
        """Probabilities [Q], mastery [B, C]; NaN for a request with more or fewer responses than questions answered."""
        # An open size, of at least one: the exporter unrolls a recurrent network over a fixed one, and ONNX Runtime
        # aborts in a GRU over none.
        width = history.shape[0] + 1
        answered, length = newest(history, history_offsets, width)
        right, count = newest(responses, responses_offsets, width)
        batch = TracingBatch(self.known(user_id), answered, right, length, answered.float())
        return asked_of(self.tracer, self.tracer.after(batch), questions, questions_offsets, length == count)


def asked_of(tracer: Tracer, state: Packed, questions: Tensor, offsets: Tensor, possible: Tensor) -> Packed:
    """Probabilities of packed questions [Q], each of its request's state, and mastery [B, C]; NaN, never a plausible
    figure, where bool [B] says that a request is not possible."""
    row = requests(offsets, questions.shape[0])
    own = cast(Callable[..., Packed], type(state))(*(part.index_select(0, row) for part in state))
    probabilities = torch.where(possible.index_select(0, row), tracer.ask(own, questions).sigmoid(), torch.nan)
    return probabilities, torch.where(possible[:, None], tracer.mastery(state), torch.nan)


def served(name: str, module: nn.Module, data: TracingData) -> tuple[Signature, ...]:
    """`<name>_start`, `<name>_step`, `<name>_ask` and `name`, on a copy of the module. The reference of the last one is
    the fold of the steps in fp64, one request at a time; that of `ask` is a question at a time."""
    module = copy.deepcopy(module).eval()
    tracer, reference = cast(Tracer[Packed], module), _Reference(copy.deepcopy(module).double(), data)
    requests_of = _Requests(data=data, tracer=tracer)
    with torch.no_grad():
        state = tracer.start(torch.zeros(2, dtype=torch.int64))
        num_concepts = tracer.mastery(state).shape[1]
    following, kept = specs_of(state, "next_"), specs_of(state, "")
    parts = tuple(
        replace(spec, minimum=least, maximum=most) for spec, (least, most) in zip(kept, tracer.bounds, strict=True)
    )
    outputs = PROBABILITIES, TensorSpec(name="mastery", dtype="float32", shape=(num_concepts,))
    ids = data.interactions.ids
    minimum = None if "item" in ids else 0
    user_id = replace(USER_ID, ids=ids.get("user"))
    history, questions, question = (
        replace(spec, ids=ids.get("item"), minimum=minimum) for spec in (HISTORY, QUESTIONS, QUESTION)
    )
    start = servable(
        name=f"{name}_start",
        module=_Start(module, data),
        inputs=(user_id,),
        outputs=parts,
        example=lambda batch_size, seed: requests_of(batch_size, seed)[:1],
    )
    step = servable(
        name=f"{name}_step",
        module=_Step(module, data, state),
        inputs=(*parts, question, RESPONSE),
        outputs=following,
        example=requests_of.steps,
    )
    ask = servable(
        name=f"{name}_ask",
        module=_Ask(module, data, state),
        inputs=(*parts, questions, QUESTION_OFFSETS),
        outputs=outputs,
        example=requests_of.asks,
    )
    whole = (user_id, history, HISTORY_OFFSETS, RESPONSES, RESPONSE_OFFSETS, questions, QUESTION_OFFSETS)
    trace = servable(
        name=name,
        module=_Trace(module, data),
        inputs=whole,
        outputs=outputs,
        example=requests_of,
        max_batch_size=MAX_BATCH_SIZE,
    )
    return start, step, replace(ask, reference=reference.ask), replace(trace, reference=reference.trace)


def specs_of(state: Packed, prefix: str) -> tuple[TensorSpec, ...]:
    """The state as inputs or outputs of a graph."""
    names: tuple[str, ...] = getattr(state, "_fields")  # noqa: B009 - a NamedTuple's, which its type does not show
    return tuple(
        TensorSpec(
            name=f"{prefix}{own}",
            dtype="int64" if part.dtype == torch.int64 else "float32",
            shape=tuple(part.shape[1:]),
        )
        for own, part in zip(names, state, strict=True)
    )


class _Reference:
    """One request at a time, answer by answer."""

    def __init__(self, module: nn.Module, data: TracingData) -> None:
        self.tracer, self.students = cast(Tracer[Packed], module), data.students

    def trace(self, user_id: Tensor, *tensors: Tensor) -> Packed:
        """As `_Trace`."""
        columns = [split(values, ends) for values, ends in zip(tensors[::2], tensors[1::2], strict=True)]
        found = []
        for user, history, responses, questions in zip(user_id[:, 0].tolist(), *columns, strict=True):
            student = torch.tensor([self.students[user] if 0 < user < len(self.students) else 0])
            length = torch.tensor([len(history)])
            batch = TracingBatch(student, history[None], responses[None], length, history[None].double())
            found.append(self._asked(fold(self.tracer, batch).state, questions))
        return tuple(torch.cat(column) for column in zip(*found, strict=True))

    def ask(self, *tensors: Tensor) -> Packed:
        """As `_Ask`."""
        *state, questions, offsets = tensors
        kind = cast(Callable[..., Packed], type(self.tracer.start(torch.zeros(1, dtype=torch.int64))))
        found = [
            self._asked(kind(*(part[row : row + 1] for part in state)), own)
            for row, own in enumerate(split(questions, offsets))
        ]
        return tuple(torch.cat(column) for column in zip(*found, strict=True))

    def _asked(self, state: Packed, questions: Tensor) -> Packed:
        each = [self.tracer.ask(state, question[None]).sigmoid() for question in questions]
        mastery = self.tracer.mastery(state)
        return torch.cat(each) if each else mastery.new_zeros(0), mastery


def split(values: Tensor, ends: Tensor) -> tuple[Tensor, ...]:
    return torch.tensor_split(values, ends.long()[:-1])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Requests:
    """Seeded requests of real students; the first ones are the edge cases: no history, one answer, an unknown
    student with an unknown question, the longest history; no question to ask at the end."""

    data: TracingData
    tracer: Tracer[Packed]

    def __call__(self, batch_size: int, seed: int) -> Packed:
        """The inputs of `_Trace`."""
        random = np.random.default_rng(seed)
        batch = self.data.test.batch(random.choice(len(self.data.test), batch_size))
        lengths = random.integers(1, batch.length.numpy(), endpoint=True)
        lengths[: len(_EDGE_LENGTHS)] = _EDGE_LENGTHS[:batch_size]
        steps = [np.arange(length) % own for length, own in zip(lengths, batch.length.tolist(), strict=True)]
        history, responses = (
            torch.cat([row[step] for row, step in zip(table, steps, strict=True)])
            for table in (batch.questions, batch.responses)
        )
        users, counts = batch.student[:, None], random.integers(1, 10, batch_size)
        if batch_size > _UNKNOWN_ROW:
            users[_UNKNOWN_ROW], history[lengths[:_UNKNOWN_ROW].sum()] = _UNKNOWN, _UNKNOWN
            counts[-1] = 0
        questions = torch.from_numpy(random.integers(1, len(self.data.concepts), counts.sum()))
        ends, asked = (torch.from_numpy(sizes.cumsum().astype(np.int32)) for sizes in (lengths, counts))
        return users, history, ends, responses, ends.clone(), questions, asked

    def steps(self, batch_size: int, seed: int) -> Packed:
        """The inputs of `_Step`: any answer after a history."""
        random = np.random.default_rng(seed)
        question = random.integers(1, len(self.data.concepts), batch_size)
        response = random.integers(2, size=batch_size)
        answer = torch.from_numpy(question)[:, None], torch.from_numpy(response)[:, None]
        return (*self._states(batch_size, seed), *answer)

    def asks(self, batch_size: int, seed: int) -> Packed:
        """The inputs of `_Ask`."""
        *_, questions, offsets = self(batch_size, seed)
        return (*self._states(batch_size, seed), questions, offsets)

    def _states(self, batch_size: int, seed: int) -> Packed:
        users, history, ends, responses, *_ = self(batch_size, seed)
        answered, length = newest(history, ends, MAX_ANSWERS)
        right, _ = newest(responses, ends, MAX_ANSWERS)
        student = torch.from_numpy(self.data.students)[known(users[:, 0], len(self.data.students))]
        with torch.no_grad():
            return self.tracer.after(TracingBatch(student, answered, right, length, answered.float()))

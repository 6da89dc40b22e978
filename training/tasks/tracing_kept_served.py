"""The served form of a tracing model that is asked by student alone: the server keeps histories and states.

    <name>_encoder    a student's history -> his state
    <name>_observer   the state before his newest answer, and that answer -> the state after it
    <name>_scorer     state, candidates -> probabilities of right answers, mastery
    <name>_state      user_id -> state: the stored one, or that of the observer, where answers came since, or the
                      encoder's
    <name>_of_user    user_id, candidates (questions) -> probabilities, mastery: state, then scorer

Answers reach it as events whose value says what was right, by `user_events`: each counts once, by its event id. A state
is of the newest `MAX_ANSWERS` answers.

Legend: B requests, L answers of a history, Q questions packed over the requests, S students, V values, D axes of a part
of the state.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from serving.state.observing import BEFORE
from training.data.tracing import TracingBatch, TracingData
from training.interactions import Interactions, by_user
from training.layers.items import known
from training.layers.prestored import Histories, stamp_of
from training.layers.requests import CANDIDATES, USER_ID, Requests, asked
from training.layers.rows import rows, rows_of_each
from training.layers.tracer import Tracer, fold
from training.schema import size_of
from training.servable import EnsembleServable, EnsembleStep, Packed, Servable, Signature, TensorSpec, servable
from training.steps.rows import Rows
from training.steps.user_state import STAMP, user_state
from training.tasks.tracing_served import MAX_ANSWERS, MAX_QUESTIONS, asked_of, specs_of, split

OF_USER = "_of_user"
"""Ends the name of the model that clients ask."""
_HISTORY = ("history_items", "history_values")
_PROBABILITIES = TensorSpec(name="probabilities", dtype="float32", shape=("candidates",), ragged=True, of="candidates")


def right_values(interactions: Interactions) -> np.ndarray | None:
    """bool [V]: values of events that say of an answer that it was right; None where no live history can tell, as there
    are no values or times, or the same value stands beside right and wrong ones."""
    if not {"value", "time"} <= {*interactions.events.columns}:
        return None
    (field,) = interactions.schema.of("value", "event")
    value, label = (interactions.events[name].to_numpy() for name in ("value", "label"))
    right, wrong = (np.bincount(value[side], minlength=size_of(field)) for side in (label > 0, label <= 0))
    return None if (right * wrong).any() else right > 0


class _Part(nn.Module):
    """A tracer, the stamp of its weights, and which values say right."""

    right: Tensor
    stamp: Tensor

    def __init__(self, module: nn.Module, right: np.ndarray, stamp: int) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("right", torch.from_numpy(right.astype(np.int64)))
        self.register_buffer("stamp", torch.tensor(stamp))
        with torch.no_grad():
            self.kind = cast(Callable[..., Packed], type(self.tracer.start(torch.zeros(1, dtype=torch.int64))))

    @property
    def tracer(self) -> Tracer[Packed]:
        return cast(Tracer[Packed], self.module)

    def responses(self, values: Int[Tensor, "*B"]) -> Int[Tensor, "*B"]:
        return rows(self.right, known(values, self.right.shape[0]))


class _Encoder(_Part):
    def forward(
        self,
        student: Int[Tensor, "B 1"],
        history_items: Int[Tensor, "B L"],
        history_values: Int[Tensor, "B L"],
        history_length: Int[Tensor, "B 1"],
    ) -> Packed:
        """Histories are newest first."""
        batch = self.batch(student, history_items, history_values, history_length)
        stamp = self.stamp.expand(student.shape[0], 1)
        return *self.tracer.after(batch), stamp

    def batch(self, student: Tensor, items: Tensor, values: Tensor, length: Tensor) -> TracingBatch:
        """Oldest first."""
        places = torch.arange(items.shape[1], device=items.device)
        there, back = places < length, (length - 1 - places).clamp(min=0)
        turned = (torch.where(there, rows_of_each(one, back), 0) for one in (items, self.responses(values)))
        # An open size: the exporter unrolls a recurrent network over a fixed one. What is added is beyond every length.
        none = items.new_zeros(items.shape[0], items.shape[0])
        questions, responses = (torch.cat((one, none), dim=1) for one in turned)
        return TracingBatch(student[:, 0], questions, responses, length[:, 0], questions.float())


class _Observer(_Part):
    def forward(self, *tensors: Tensor) -> Packed:
        """Newest answer, its value, their number (one), and the state before it with its stamp."""
        items, values, length, *before, stamp = tensors
        state = self.tracer.step(self.kind(*before), items[:, 0], self.responses(values[:, 0]))
        return *(_known(part, length > 0) for part in state), stamp


class _Scorer(_Part):
    def forward(self, *tensors: Tensor) -> Packed:
        """Candidates, their ends, and the state with its stamp; NaN for a state of other weights."""
        candidates, offsets, *state, stamp = tensors
        return asked_of(self.tracer, self.kind(*state), candidates, offsets, (stamp == self.stamp)[:, 0])


def _known(part: Tensor, possible: Bool[Tensor, "B 1"]) -> Tensor:
    if not part.is_floating_point():
        return part
    return torch.where(possible.reshape(-1, *[1] * (part.ndim - 1)), part, torch.nan)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Answers:
    """The eager answers in one dtype."""

    encoder: _Encoder
    scorer: _Scorer
    histories: Rows

    @classmethod
    def of(cls, module: nn.Module, right: np.ndarray, histories: Rows, dtype: torch.dtype) -> "_Answers":
        """Of a copy; the stamp is that of the module."""
        own, stamp = copy.deepcopy(module).to(dtype).eval(), stamp_of(module)
        return cls(
            encoder=_Encoder(own, right, stamp).eval(), scorer=_Scorer(own, right, stamp).eval(), histories=histories
        )

    @torch.no_grad()
    def state(self, user_id: Tensor) -> Packed:
        return self.encoder(*self.histories.of(user_id))

    @torch.no_grad()
    def ask(self, user_id: Tensor, candidates: Tensor, ends: Tensor) -> Packed:
        return self.scorer(candidates, ends, *self.state(user_id))

    @torch.no_grad()
    def folded(self, user_id: Tensor, candidates: Tensor, ends: Tensor) -> Packed:
        """The same, one answer after the other and a question at a time."""
        tracer, batch = self.encoder.tracer, self.encoder.batch(*self.histories.of(user_id))
        state = fold(tracer, batch).state
        each = [
            tracer.ask(self.encoder.kind(*(part[row : row + 1] for part in state)), question[None]).sigmoid()
            for row, own in enumerate(split(candidates, ends))
            for question in own
        ]
        mastery = tracer.mastery(self.encoder.kind(*state))
        return torch.cat(each) if each else mastery.new_zeros(0), mastery


def histories_of(data: TracingData, longest: int) -> dict[str, np.ndarray]:
    """`user_ids`, `student` and the newest answers of every student, newest first, as an encoder reads them."""
    events = data.interactions.events
    own = events[by_user(events)]
    user = own["user"].to_numpy()
    numbers = np.arange(1, len(data.students))
    first, end = (np.searchsorted(user, numbers, side=side) for side in ("left", "right"))
    length = np.minimum(end - first, longest)[:, None]
    places = np.arange(longest)
    at = np.maximum(end[:, None] - 1 - places, 0)
    columns = {"history_items": own["item"].to_numpy(), "history_values": own["value"].to_numpy()}
    arrays = {name: np.where(places < length, values[at], 0).astype(np.int64) for name, values in columns.items()}
    return {
        "user_ids": numbers,
        "student": data.students[1:, None],
        **arrays,
        "history_length": length.astype(np.int64),
    }


def kept(name: str, module: nn.Module, data: TracingData) -> tuple[Signature, ...]:
    """The five models, or none where a live history does not say what was right."""
    right = right_values(data.interactions)
    if right is None:
        return ()
    module = copy.deepcopy(module).eval()
    histories, reads = histories_of(data, MAX_ANSWERS), _reads(MAX_ANSWERS)
    table = Rows(histories["user_ids"], {spec.name: histories[spec.name] for spec in reads})
    own, exact = (_Answers.of(module, right, table, dtype) for dtype in (torch.float32, torch.float64))
    with torch.no_grad():
        state = own.encoder.tracer.start(torch.zeros(2, dtype=torch.int64))
        concepts = own.encoder.tracer.mastery(state).shape[1]
    states = (*specs_of(state, ""), STAMP)
    outputs = (_PROBABILITIES, TensorSpec(name="mastery", dtype="float32", shape=(concepts,)))
    draw = _requests(data, histories["history_length"][:, 0])
    encoder = servable(
        name=f"{name}_encoder",
        module=own.encoder,
        inputs=reads,
        outputs=states,
        example=Histories(rows=table, names=tuple(spec.name for spec in reads), draw=draw),
    )
    observer = _observer(name, module, right, own, states, draw)
    wanted = asked(data.interactions, MAX_QUESTIONS)
    scorer = servable(
        name=f"{name}_scorer",
        module=own.scorer,
        inputs=(wanted.candidates, wanted.offsets, *states),
        outputs=outputs,
        example=lambda size, seed: (*draw(size, seed)[1:], *own.state(draw(size, seed)[0])),
    )
    some = (wanted.user_id, replace(wanted.candidates, min_elements=1), wanted.offsets)
    state_step = user_state(
        f"{name}_state", encoder=encoder, histories=histories, inputs=some, example=draw, observer=observer
    )
    whole = EnsembleServable(
        name=f"{name}{OF_USER}",
        inputs=some,
        outputs=outputs,
        example=draw,
        eager=own.ask,
        eager64=exact.ask,
        reference=exact.folded,
        steps=_steps(encoder, state_step, scorer),
        reads_histories=True,
        is_asked=True,
    )
    return encoder, scorer, observer, state_step, whole


def _reads(longest: int) -> tuple[TensorSpec, ...]:
    """What an encoder reads of a student."""
    return (
        TensorSpec(name="student", dtype="int64", shape=(1,), minimum=0),
        *(TensorSpec(name=name, dtype="int64", shape=(longest,), minimum=0) for name in _HISTORY),
        TensorSpec(name="history_length", dtype="int64", shape=(1,), minimum=0, maximum=longest),
    )


def _requests(data: TracingData, length: np.ndarray) -> Requests:
    """The students with the longest and the shortest history first."""
    first = (int(length.argmax()) + 1, int(length.argmin()) + 1)
    return Requests(user_ids=np.arange(1, len(data.students)), num_items=len(data.concepts) - 1, first=first, least=1)


def _observer(
    name: str,
    module: nn.Module,
    right: np.ndarray,
    own: _Answers,
    states: tuple[TensorSpec, ...],
    draw: Callable[[int, int], Packed],
) -> Servable:
    def example(batch_size: int, seed: int) -> Packed:
        """The newest answer of a history arrives at the state before it."""
        student, items, values, length = own.histories.of(draw(batch_size, seed)[0])
        earlier = (torch.nn.functional.pad(one[:, 1:], (0, 1)) for one in (items, values))
        with torch.no_grad():
            before = own.encoder(student, *earlier, (length - 1).clamp(min=0))
        return items[:, :1], values[:, :1], torch.ones_like(length), *before

    return servable(
        name=f"{name}_observer",
        module=_Observer(module, right, int(own.encoder.stamp)),
        inputs=(*_reads(1)[1:], *(replace(spec, name=f"{BEFORE}{spec.name}") for spec in states)),
        outputs=states,
        example=example,
    )


def _steps(encoder: Signature, state: Signature, scorer: Signature) -> tuple[EnsembleStep, ...]:
    """The state, then the scorer on it."""
    found = {spec.name: spec.name for spec in encoder.outputs}
    candidates = {CANDIDATES.name: CANDIDATES.name}
    outputs = {spec.name: spec.name for spec in scorer.outputs}
    return (
        EnsembleStep(model=state.name, inputs={USER_ID.name: USER_ID.name, **candidates}, outputs=found),
        EnsembleStep(model=scorer.name, inputs={**candidates, **found}, outputs=outputs),
    )

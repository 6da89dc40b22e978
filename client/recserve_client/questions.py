"""What a ranking, listing or tracing model is asked, out of plain ids, and what its answer says."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from recserve_client import ids
from recserve_client.core import Answer, Ask, Core, Steps
from recserve_client.described import Description, TensorInfo
from recserve_client.errors import InvalidRequest, ServerFailure
from recserve_client.tensors import DTYPES

RANKS = ("click",)
"""Tasks whose models score the candidates of a user."""
LISTS = ("next_item", "retrieval")
"""Tasks whose models list the best of all items."""
TRACES = ("tracing",)
"""Tasks whose models say how probable it is that a student answers a question right."""
USER, HISTORY, CANDIDATES = "user_id", "history", "candidates"
RESPONSES, QUESTIONS = "responses", "questions"
_ITEMS, _SCORES, _PROBABILITIES = "items", "scores", "probabilities"


class Ranked(NamedTuple):
    """Items, best first; of equal ones the earlier first."""

    items: tuple[int, ...] | tuple[str, ...]
    """As the caller calls them."""
    scores: tuple[float, ...]
    """Of each item; exactly the model's."""
    version: str
    """Of the model that answered."""
    request_id: str


class Suggested(NamedTuple):
    """Questions for a student, the one to ask next first; of equally near ones the earlier first."""

    questions: tuple[int, ...] | tuple[str, ...]
    """As the caller calls them, by nearness of their probability to the target."""
    probabilities: tuple[float, ...]
    """Of a right answer to each question; exactly the model's."""
    version: str
    """Of the model that answered."""
    request_id: str


class Question(NamedTuple):
    """A model and what it is asked."""

    model: str
    dataset: str | None
    """Of which the model must be; None where any will do."""
    named: Mapping[str, Any]
    """Ids by the name of the input; None where nothing was said."""
    context: Mapping[str, Any]
    """Further inputs by name."""

    def inputs(self, model: Description, tasks: Sequence[str]) -> dict[str, np.ndarray]:
        """Arrays that the model takes. Raises InvalidRequest, naming what does not fit, and for other tasks."""
        self._check_kind(model, tasks)
        said = {name: value for name, value in {**self.context, **self.named}.items() if value is not None}
        if unknown := sorted({*map(str, said)} - {tensor.name for tensor in model.inputs}):
            raise InvalidRequest(f"model '{model.name}' takes no {unknown[0]}; it takes {_told(model.inputs)}")
        unsaid = [one for one in model.inputs if one.name not in said and one.name not in model.optional]
        left_out = {one.name: value for one in unsaid if (value := model.neutral(one.name)) is not None}
        if lacking := [one for one in unsaid if one.name not in left_out]:
            raise InvalidRequest(f"model '{model.name}' also takes {_told(lacking)}; {_remedy(lacking[0].name)}")
        arrays = {tensor.name: self._array(model, tensor) for tensor in model.inputs if tensor.name in said}
        return arrays | {
            tensor.name: _neutral(model, tensor, left_out[tensor.name])
            for tensor in model.inputs
            if tensor.name in left_out
        }

    def _check_kind(self, model: Description, tasks: Sequence[str]) -> None:
        if model.part_of is not None:
            raise InvalidRequest(f"model '{model.name}' is a part of '{model.part_of}'; ask '{model.part_of}'")
        if model.task not in tasks:
            kind = f"of the task {model.task}" if model.task else "of no task that it names"
            raise InvalidRequest(f"model '{model.name}' is {kind}, not of {' or '.join(tasks)}; use infer")
        if self.dataset is not None and self.dataset != model.dataset:
            own = model.dataset or "that it does not name"
            raise InvalidRequest(
                f"model '{model.name}' is of data set {own}, not of {self.dataset}, so its ids mean something else; "
                "name another model, or its own data set"
            )

    def _array(self, model: Description, tensor: TensorInfo) -> np.ndarray:
        where = f"{model.name}: {tensor.name}"
        if tensor.name in self.named:
            take = ids.single if tensor.shape == (1,) else ids.listed
            array = take(where, self.named[tensor.name], tensor.datatype)
        else:
            array = _further(where, tensor, self.context[tensor.name])
        return array[None] if model.has_batch_axis else array


def rank(core: Core, ask: Ask, question: Question) -> Steps[Ranked]:
    """The candidates by their scores; the question names user and candidates."""
    known, answer = yield from core.informed(question.model, partial(question.inputs, tasks=RANKS), ask)
    tensor = known.input(CANDIDATES)
    assert tensor is not None
    candidates = ids.listed(CANDIDATES, question.named[CANDIDATES], tensor.datatype)
    return _best(known, candidates, _row(known, answer, _SCORES), answer.version, ask.request_id)


def generate(core: Core, ask: Ask, question: Question, k: int | None) -> Steps[Ranked]:
    """The listed items by their scores, at most `k`; the question names history or user. Places without an item are
    left out."""

    def inputs(known: Description) -> dict[str, np.ndarray]:
        arrays = question.inputs(known, LISTS)
        _check_k(known, k)
        return arrays

    known, answer = yield from core.informed(question.model, inputs, ask)
    items, scores = _row(known, answer, _ITEMS), _row(known, answer, _SCORES)
    there = items != known.no_id(_ITEMS)
    best = _best(known, items[there], scores[there], answer.version, ask.request_id)
    return best._replace(items=best.items[:k], scores=best.scores[:k])


def next_question(core: Core, ask: Ask, question: Question, target: float) -> Steps[Suggested]:
    """The questions by nearness of their probability to the target; `question` names student and questions, and what
    was answered where the model does not keep it. Raises InvalidRequest for a target that is no probability."""
    if isinstance(target, bool) or not isinstance(target, int | float | np.number) or not 0 <= target <= 1:
        raise InvalidRequest(f"target is {target!r}; give a probability, from 0 to 1")

    def inputs(known: Description) -> dict[str, np.ndarray]:
        return _of_tracing(known, question).inputs(known, TRACES)

    known, answer = yield from core.informed(question.model, inputs, ask)
    tensor = known.input(CANDIDATES) or known.input(QUESTIONS)
    assert tensor is not None
    asked = ids.listed(tensor.name, question.named[QUESTIONS], tensor.datatype)
    said = _row(known, answer, _PROBABILITIES)
    if len(asked) != len(said):
        raise ServerFailure(f"model '{known.name}' gives {len(said)} probabilities for {len(asked)} questions")
    order = np.argsort(np.abs(said.astype(np.float64) - float(target)), kind="stable")
    return Suggested(tuple(asked[order].tolist()), tuple(said[order].tolist()), answer.version, ask.request_id)


def _of_tracing(model: Description, question: Question) -> Question:
    """The question with the name that the model has for what it is asked about."""
    if model.input(CANDIDATES) is None:
        return question
    named = {CANDIDATES if name == QUESTIONS else name: value for name, value in question.named.items()}
    return question._replace(named=named)


def _check_k(model: Description, k: int | None) -> None:
    """Raises InvalidRequest where the model does not list so many."""
    tensor = model.output(_ITEMS)
    most = tensor.shape[-1] if tensor is not None else 0
    if k is not None and (isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= most):
        raise InvalidRequest(f"k is {k!r}; model '{model.name}' lists {most} items, so give 1 to {most}")


def _best(model: Description, items: np.ndarray, scores: np.ndarray, version: str, request_id: str) -> Ranked:
    if len(items) != len(scores):
        raise ServerFailure(f"model '{model.name}' gives {len(scores)} scores for {len(items)} items")
    order = np.argsort(-scores, kind="stable")
    return Ranked(tuple(items[order].tolist()), tuple(scores[order].tolist()), version, request_id)


def _row(model: Description, answer: Answer, name: str) -> np.ndarray:
    """[n]: an output of the one request."""
    if name not in answer.outputs:
        raise ServerFailure(f"model '{model.name}' gives no {name}, only {', '.join(answer.outputs)}; use infer")
    return answer.outputs[name].reshape(-1)


def _further(where: str, tensor: TensorInfo, value: Any) -> np.ndarray:
    """An input beside the ids: a number or text of the model's type, in its shape."""
    if tensor.datatype == "BYTES" or tensor.datatype == "INT64":
        array = ids.listed(where, value, tensor.datatype)
    else:
        array = _number(where, tensor, value)
    if len(tensor.shape) == 1 and tensor.shape[0] in (-1, array.size):
        return array.reshape(-1)
    if tuple(array.shape) != tensor.shape:
        raise InvalidRequest(f"{where} has shape {list(array.shape)}; the model takes {list(tensor.shape)}")
    return array


def _neutral(model: Description, tensor: TensorInfo, text: str) -> np.ndarray:
    """An input that the caller left out, in its shape."""
    is_empty = not text and -1 in tensor.shape
    shape = [0 if is_empty and size < 0 else max(size, 1) for size in tensor.shape]
    dtype = object if tensor.datatype == "BYTES" else DTYPES[tensor.datatype]
    array = np.zeros(shape, dtype) if is_empty else np.full(shape, text, dtype)
    return array[None] if model.has_batch_axis else array


def _number(where: str, tensor: TensorInfo, value: Any) -> np.ndarray:
    dtype = DTYPES.get(tensor.datatype)
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever the value's own conversion raises
        raise InvalidRequest(f"{where} is no array ({error}); send a number or an array") from error
    if dtype is None or array.dtype.kind not in "biuf" or not np.can_cast(array.dtype, dtype, "same_kind"):
        raise InvalidRequest(f"{where} is {value!r}; the model takes {tensor.datatype}")
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    lost = cast != array if dtype.kind in "iu" else np.isinf(cast) & np.isfinite(array)
    if lost.any():
        raise InvalidRequest(f"{where} is {value!r}, which is beyond {tensor.datatype}")
    return cast


def _told(inputs: Sequence[TensorInfo]) -> str:
    return ", ".join(f"{one.name} ({one.datatype} {list(one.shape)})" for one in inputs) or "nothing"


def _remedy(name: str) -> str:
    arguments = {USER: "user", HISTORY: "history", RESPONSES: "responses"}
    return f"give {arguments[name]}=" if name in arguments else f"give context={{'{name}': ...}}"

"""Exported tracing models in ONNX Runtime, one thread: one more answer and one question by the kept state, and the same
question by all answers, after short and long histories of one student.

`<name>_step` and `<name>_ask` are fed the state that as many steps have left; `<name>` is fed the answers, more of them
than a server takes in one request.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from export.artifacts import Source
from export.repository import publish
from recserve.studies.lrea_length.measure import interleaved
from serving.backends import packing
from serving.direct import DirectModel
from training.interactions import Interactions, by_user
from training.registry import system
from training.system import Wanted, prepare

TOLERANCE = 1e-4
"""Most by which the question of the state may be answered otherwise than the one of all answers."""
WAYS = ("step", "ask", "whole")
"""One answer into the state, one question of it, one question of all answers."""
Report = Callable[[str], None]
Arrays = dict[str, np.ndarray]
Call = Callable[[int], list[Any]]


class Answers(NamedTuple):
    """Of one student, raw ids, and the question that he is asked after them."""

    user_id: np.ndarray
    questions: np.ndarray
    """int64 [N]"""
    responses: np.ndarray
    """int64 [N]"""
    asked: int


class Case(NamedTuple):
    """What is timed."""

    model: str
    way: str
    answers: int


def export(names: Sequence[str], interactions: Interactions, repository: Path, report: Report) -> None:
    """Exports systems as they are before training, by their defaults; no time depends on the weights."""
    for name in names:
        report(f"exporting {name}")
        chosen = system(name)
        config = chosen.config()
        if chosen.task.name != "tracing":
            raise ValueError(f"{name} is of the task {chosen.task.name}; name systems of tracing")
        data = chosen.view(chosen.task.view(interactions, Wanted(chosen.reads, config.max_length, {})))
        torch.manual_seed(0)
        module = chosen.build(config, data.schema).eval()
        prepare(module, data)
        source = Source(kind="factory", name=f"{__name__}:export")
        publish(repository, chosen.task.release(name, module, data), source)


def answers_of(interactions: Interactions, number: int) -> Answers:
    """The answers of the student who gave most, over and over, until they are so many."""
    events = interactions.events[by_user(interactions.events)]
    student = int(np.bincount(events["user"].to_numpy()).argmax())
    own = events.filter(events["user"] == student)
    questions = np.asarray(interactions.raws("item", own["item"].to_numpy()), np.int64)
    return Answers(
        np.asarray(interactions.raws("user", np.array([student])), np.int64),
        np.resize(questions, number),
        np.resize((own["label"].to_numpy() > 0).astype(np.int64), number),
        int(questions[0]),
    )


def run(
    repository: Path, names: Sequence[str], answers: Answers, lengths: Sequence[int], repetitions: int, report: Report
) -> list[dict[str, Any]]:
    """A row for each model, way and number of answers: median milliseconds of the processor, and bytes of the state. Of
    the processor, as a clock also counts what else a busy machine does. All cases are spread over one run.

    Raises ValueError, before anything is timed, where a state answers otherwise than all answers do."""
    calls: dict[Case, Call] = {}
    sizes: dict[tuple[str, int], int] = {}
    for name in names:
        report(f"answering as {name}")
        for length, state in _states(repository, name, answers, lengths).items():
            sizes[name, length] = sum(part.nbytes for part in state.values())
            own = _calls(repository, name, state, answers, length)
            _agree(name, own["ask"](0), own["whole"](0))
            calls |= {Case(name, way, length): call for way, call in own.items()}
    timings = interleaved(
        calls, repetitions, lambda done, all_: report(f"timed {done:,} of {all_:,} calls"), time.process_time
    )
    return [
        {
            **case._asdict(),
            "cpu_ms": round(timings[case].percentiles.p50, 4),
            "state_bytes": sizes[case.model, case.answers],
            "repetitions": timings[case].repetitions,
        }
        for case in calls
    ]


def ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Model -> way -> what the longest history costs of the shortest one."""
    cost = {(row["model"], row["way"], row["answers"]): row["cpu_ms"] for row in rows}
    lengths = {row["answers"] for row in rows}
    return {
        model: {way: round(cost[model, way, max(lengths)] / cost[model, way, min(lengths)], 3) for way in WAYS}
        for model in dict.fromkeys(row["model"] for row in rows)
    }


def _agree(name: str, ask: list[np.ndarray], whole: list[np.ndarray]) -> None:
    gap = max(float(np.abs(one - other).max()) for one, other in zip(ask, whole, strict=True))
    if not gap <= TOLERANCE:
        raise ValueError(f"{name}_ask answers {gap:.3g} from {name}; nothing was timed")


def _states(repository: Path, name: str, answers: Answers, lengths: Sequence[int]) -> dict[int, Arrays]:
    """The state after so many answers, one step after the other."""
    start, step = (DirectModel.open(repository / f"{name}_{part}") for part in ("start", "step"))
    (state,) = start.run([{"user_id": answers.user_id[None]}])
    outputs, found = [f"next_{part}" for part in state], {}
    for place in range(max(lengths)):
        new = step.session.run(outputs, _step_feeds(step, state, answers, place))
        state = {part: np.asarray(value) for part, value in zip(state, new, strict=True)}
        if place + 1 in lengths:
            found[place + 1] = state
    return found


def _step_feeds(step: DirectModel, state: Arrays, answers: Answers, place: int) -> Arrays:
    place %= len(answers.questions)
    new = {"question": answers.questions[None, [place]], "response": answers.responses[None, [place]]}
    return packing.pack(step.spec, [{**state, **new}])


def _calls(repository: Path, name: str, state: Arrays, answers: Answers, length: int) -> dict[str, Call]:
    step, ask, whole = (DirectModel.open(repository / part) for part in (f"{name}_step", f"{name}_ask", name))
    asked = {"questions": np.array([[answers.asked]])}
    given = {"history": answers.questions[None, :length], "responses": answers.responses[None, :length]}
    feeds = {
        "step": (step, _step_feeds(step, state, answers, length)),
        "ask": (ask, packing.pack(ask.spec, [{**state, **asked}])),
        "whole": (whole, packing.pack(whole.spec, [{"user_id": answers.user_id[None], **given, **asked}])),
    }
    return {way: _call(model, fed) for way, (model, fed) in feeds.items()}


def _call(model: DirectModel, fed: Arrays) -> Call:
    return lambda _: list(model.session.run(None, fed))

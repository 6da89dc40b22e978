"""A release again, with golden requests and a reference of scores that come out of a log of requests.

Each answer is computed by the release itself, alone and beside others, and where the log has this release's own answer
to it, that one must be the same. Requests of models that read histories are asked for users of golden requests, who
have what was exported: what their users did since must not make a right answer wrong.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from export import logged, references
from export.artifacts import GOLDEN_FILE
from export.logged import Logged
from export.release_ids import Known
from export.repository import publish_again
from serving import golden
from serving.golden import Golden
from serving.histories.examples import example_ids, example_of
from serving.in_process import InProcessModel
from serving.readiness import TOLERANCE
from serving.watch.pseudonyms import USER_ID
from serving.watch.reference import Reference

SAMPLE = 512
"""Requests that a reference is made of, at most."""
_BATCH = 8


class Made(NamedTuple):
    """What came of it."""

    version: int
    goldens: int
    """In all."""
    added: int
    compared: int
    """Added ones whose answer is the one that the log has."""
    reference: Reference | None


def publish_with_log(
    repository: Path, name: str, version: int, log: Path, most: int, report: Callable[[str], None]
) -> Made:
    """Publishes a release again beside what is served, with `most` golden requests of a log behind its own.

    Raises ValueError where the log has no request to it, or where an answer is another alone than beside others, or
    than the log's.
    """
    model = repository / name
    own = golden.read(model / str(version) / GOLDEN_FILE)
    of = logged.ids_of(repository, name, version)
    asked = logged.named(logged.read(log, name, SAMPLE), log, of(USER_ID))
    direct = InProcessModel.open(model, version=str(version))
    try:
        answered = [one if one.version == version else _answered(direct, one) for one in asked]
        chosen = [
            asked[place] for place in np.unique(np.linspace(0, len(asked) - 1, min(most, len(asked))).astype(int))
        ]
        added = _goldens(direct, chosen, of(USER_ID) if _asks_examples(own) else None)
    finally:
        direct.close()
    compared = 0 if _asks_examples(own) else _compare(chosen, added, version)
    reference = _reference(model / str(version), answered, logged.unknown_shares(asked, of))

    def change(folder: Path) -> None:
        golden.write(folder / GOLDEN_FILE, [*own, *added])
        if reference is not None:
            reference.write(folder)

    made = publish_again(repository, name, version, change, report)
    return Made(made, len(own) + len(added), len(added), compared, reference)


def _answered(direct: InProcessModel, one: Logged) -> Logged:
    return one._replace(outputs=direct.run([one.inputs])[0])


def _asks_examples(goldens: Sequence[Golden]) -> bool:
    """Whether users of golden requests have ids of their own."""
    asked = [one.inputs[USER_ID].reshape(-1).tolist() for one in goldens if USER_ID in one.inputs]
    return any(example_of(user) is not None for users in asked for user in users)


def _goldens(direct: InProcessModel, chosen: Sequence[Logged], examples_of: Known | None) -> list[Golden]:
    requests = [one.inputs if examples_of is None else _of_example(one.inputs, examples_of) for one in chosen]
    answers = [direct.run([one])[0] for one in requests]
    for number, (request, answer) in enumerate(zip(requests, answers, strict=True)):
        if any(array.dtype.kind == "f" and np.isnan(array).any() for array in answer.values()):
            raise ValueError(f"request {number} of the log is answered with NaN, which is no golden answer: {request}")
    for first in range(0, len(requests), _BATCH):
        together = direct.run(requests[first : first + _BATCH])
        for number, (alone, beside) in enumerate(zip(answers[first:], together, strict=False), first):
            _same(f"request {number} of the log, alone and beside others,", alone, beside)
    return [Golden(dict(request), answer) for request, answer in zip(requests, answers, strict=True)]


def _of_example(inputs: dict[str, np.ndarray], users: Known) -> dict[str, np.ndarray]:
    """Of the golden user who stands for the client's own; nobody for one whom the release does not know."""
    kind = "string" if users.kind == "string" else "int64"
    return {**inputs, USER_ID: example_ids(users.dense(inputs[USER_ID]), kind)}


def _compare(chosen: Sequence[Logged], added: Sequence[Golden], version: int) -> int:
    compared = 0
    for number, (one, made) in enumerate(zip(chosen, added, strict=True)):
        if one.version == version:
            _same(f"request {number} of the log, as it was answered and here,", one.outputs, made.outputs)
            compared += 1
    return compared


def _same(what: str, expected: dict[str, np.ndarray], actual: dict[str, np.ndarray]) -> None:
    gap = golden.compare(expected, actual, TOLERANCE)
    if not gap.ok:
        raise ValueError(
            f"{what} differs by {gap.absolute:.3g} in '{gap.output}' at {list(gap.index)}; see recserve parity"
        )


def _reference(version: Path, answered: Sequence[Logged], unknown: dict[str, float]) -> Reference | None:
    before = Reference.read(version)
    if before is None:
        return None
    goldens = [Golden(one.inputs, one.outputs) for one in answered]
    return references.reference(goldens, before.output, unknown, "log") or before

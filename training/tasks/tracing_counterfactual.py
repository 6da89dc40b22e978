"""Why a tracing model answers so, for any system of the task: what the same model says had the last answer been the
other one (our design)."""

import numpy as np

from training.asking import Infer, Shown, Tensors
from training.data.tracing import concepts_of
from training.interactions import Interactions
from training.tasks.tracing_asked import by_sequence, concept_names, questions_of

MOST = 10
"""Questions that are listed: those whose probability would change most."""
_COLUMNS = ("as it was", "otherwise", "change")
_ANSWERS = ("wrong", "right")


def counterfactual(infer: Infer, model: str, interactions: Interactions, request: Tensors) -> list[Shown]:
    """Two tables: mastery of the concepts of the last answer, and probabilities of questions, each as the served model
    says it from the answers, and from the same ones with the last turned over. Where the server has the answers, those
    of the data set are sent to the release's other model.

    Raises ModelUnavailable where that is not served.
    """
    model, request = by_sequence(interactions, model, request)
    responses = request["responses"]
    if not responses.size:
        return [Shown(("no answer yet that could have been another one",), "", (), [])]
    turned = responses.copy()
    turned[0, -1] = 1 - turned[0, -1]
    before, after = (infer(model, {**request, "responses": one}) for one in (responses, turned))
    item = interactions.dense("item", request["history"][0].tolist()[-1])
    was, other = (_ANSWERS[int(one[0, -1])] for one in (responses, turned))
    lines = (
        f"the last answer, to {interactions.titles[item]}, was {was}",
        f"had this answer been {other}:",
    )
    return [
        _mastery(interactions, item, before, after)._replace(lines=lines),
        _asked(interactions, request, before, after),
    ]


def _mastery(interactions: Interactions, item: int, before: Tensors, after: Tensors) -> Shown:
    names = concept_names(interactions)
    own = [number - 1 for number in concepts_of(interactions)[item].tolist() if number]
    rows: list[list[object]] = [
        [names[number], *_change(before["mastery"][0, number], after["mastery"][0, number])] for number in own
    ]
    return Shown((), "mastery of its concepts", ("concept", *_COLUMNS), rows)


def _asked(interactions: Interactions, request: Tensors, before: Tensors, after: Tensors) -> Shown:
    asked, (was, other) = questions_of(request), (one["probabilities"][0] for one in (before, after))
    rows: list[list[object]] = [
        [
            interactions.titles[interactions.dense("item", asked[number])],
            asked[number],
            *_change(was[number], other[number]),
        ]
        for number in np.argsort(-np.abs(other - was), kind="stable")[:MOST].tolist()
    ]
    return Shown((), "probabilities that would change most", ("title", "item", *_COLUMNS), rows)


def _change(before: np.floating, after: np.floating) -> tuple[float, float, float]:
    return float(before), float(after), float(after) - float(before)

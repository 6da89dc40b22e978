"""Why GSVR answers so: mean and deviation of the score of the best candidates, in each scenario."""

import numpy as np

from training.asking import Infer, Shown, Tensors, ordered
from training.data.scenario import num_scenarios, scenario_field
from training.interactions import Interactions
from training.layers.requests import CANDIDATES, USER_ID

MOST = 3
"""Candidates that are explained: the best ones."""


def explained(infer: Infer, model: str, interactions: Interactions, request: Tensors, answer: Tensors) -> list[Shown]:
    """One table: of each of the best candidates what the user's and the item's distributions say in each scenario, and
    which one is the item's own. The unknown scenario is that of an item that nobody knows."""
    best = ordered(answer["scores"][0])[:MOST]
    candidates = {CANDIDATES.name: request[CANDIDATES.name][:, best]}
    moment = {name: value for name, value in request.items() if name not in (USER_ID.name, CANDIDATES.name)}
    user = infer(f"{model}_history", {USER_ID.name: request[USER_ID.name], **candidates})
    found = infer(f"{model}_spread", {**candidates, **user, **moment})
    field = scenario_field(interactions.schema)
    names = field.values if field and field.values else tuple(map(str, range(num_scenarios(interactions.schema))))
    own = np.zeros(len(interactions.items), np.int64)
    if field is not None and field.role == "item":
        own = interactions.items[field.name].to_numpy()
    rows: list[list[object]] = []
    for number, raw in enumerate(candidates[CANDIDATES.name][0].tolist()):
        item = interactions.dense("item", raw)
        for scenario, name in enumerate(names):
            if scenario == 0 and item and len(names) > 1:
                continue
            mean, deviation = (float(found[f"{what}_{scenario}"][0, number]) for what in ("mean", "deviation"))
            of_item = "yes" if own[item] == scenario > 0 else ""
            rows.append([interactions.titles[item], name, of_item, mean, deviation])
    title = (
        "score by scenario: mean and deviation over draws from the user's and the item's distribution "
        "(the score above is that at their centres)"
    )
    return [Shown((), title, ("title", "scenario", "the item's own", "mean", "deviation"), rows)]

"""Why SFPNet answers so: how strong the gates are in the scenario of the best candidate, and what behaviours moved."""

import numpy as np

from training.asking import NO_EVENTS, Infer, Shown, Tensors, ordered
from training.data.scenario import scenario_field
from training.interactions import Interactions
from training.layers.requests import CANDIDATES, USER_ID

MOST = 8
"""Behaviours that are shown: those that moved most."""


def explained(infer: Infer, model: str, interactions: Interactions, request: Tensors, answer: Tensors) -> list[Shown]:
    """Two tables, of the scenario of the best candidate: mean strength of each block's gates, and the behaviours by how
    far the blocks moved them. A release without a graph of its own for users has nothing to ask."""
    best = ordered(answer["scores"][0])[:1]
    candidates = {CANDIDATES.name: request[CANDIDATES.name][:, best]}
    moment = {name: value for name, value in request.items() if name not in (USER_ID.name, CANDIDATES.name)}
    user = infer(f"{model}_history", {USER_ID.name: request[USER_ID.name], **candidates})
    found = infer(f"{model}_scene", {**user, **moment})
    place, name = _scenario(interactions, candidates[CANDIDATES.name][0, 0], found["moved"].shape[1])
    moved, gates = found["moved"][0, place], found["gates"][0, place].reshape(-1, 2)
    length = int(user["history_length"][0, 0])
    most = np.argsort(-moved[:length], kind="stable")[:MOST]
    titles = interactions.titles
    items = user["history_items"][0]
    strengths: list[list[object]] = [[number, float(one), float(two)] for number, (one, two) in enumerate(gates, 1)]
    behaviours: list[list[object]] = [
        [
            titles[int(items[number])] if 0 <= items[number] < len(titles) else titles[0],
            int(number),
            float(moved[number]),
        ]
        for number in most
    ]
    vectors = np.linalg.norm(found["tailored"][0, place, :length], axis=1)
    unit = f"; moved by: length of what blocks add, beside a vector of {vectors.mean():.1f}" if length else ""
    return [
        Shown((), f"gates {name}: 1 leaves a vector as it is", ("block", "user", "behaviours, pooled"), strengths),
        Shown(
            () if length else (NO_EVENTS,),
            f"behaviours that moved most {name}{unit}",
            ("title", "newer ones", "moved by"),
            behaviours,
        ),
    ]


def _scenario(interactions: Interactions, raw: int | str, num_scenes: int) -> tuple[int, str]:
    """Place among the scenarios of the answer, and what it is called."""
    field = scenario_field(interactions.schema)
    if field is None or field.role == "event" or num_scenes == 1:
        return 0, "in this scenario"
    place = int(interactions.items[field.name][interactions.dense("item", raw)])
    return place, f"in the scenario {field.values[place] if field.values else place}"

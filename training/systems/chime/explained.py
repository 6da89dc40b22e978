"""Why CHIME answers so: the interests of the user by their weight for the best candidate, with titles.

Legend: K words, M items that say what a word stands for.
"""

import numpy as np

from training.asking import NO_EVENTS, Infer, Shown, Tensors, ordered
from training.interactions import Interactions
from training.layers.requests import CANDIDATES, USER_ID

MOST = 10
"""Interests that are shown."""


def explained(infer: Infer, model: str, interactions: Interactions, request: Tensors, answer: Tensors) -> list[Shown]:
    """One table: the words of the first level that the user's behaviours have."""
    best = ordered(answer["scores"][0])[:1]
    candidate = request[CANDIDATES.name][:, best]
    state = infer(f"{model}_state", {USER_ID.name: request[USER_ID.name], CANDIDATES.name: candidate})
    told = infer(f"{model}_interests", {"item": candidate, "counts": state["counts"], "recent": state["recent"]})
    weights, in_all, of_late = (told[name][0] for name in ("weights", "in_all", "of_late"))
    there = [word for word in np.argsort(-weights, kind="stable").tolist() if in_all[word]]
    item = candidate[0, 0]
    title = interactions.titles[interactions.dense("item", item if isinstance(item, str) else int(item))]
    return [
        Shown(
            (
                f"{int(in_all.sum())} behaviours, {int(of_late.sum())} of them of late, in {len(there)} interests",
                *([] if there else [NO_EVENTS]),
            ),
            f"interests by their weight for {title} (item {item})",
            ("weight", "behaviours", "of late", "like"),
            [
                [
                    float(weights[word]),
                    int(in_all[word]),
                    int(of_late[word]),
                    "; ".join(_titles(interactions, told["items"][0, word])),
                ]
                for word in there[:MOST]
            ],
        )
    ]


def _titles(interactions: Interactions, items: np.ndarray) -> list[str]:
    numbers = [interactions.dense("item", one if isinstance(one, str) else int(one)) for one in items.tolist()]
    return [interactions.titles[number] for number in numbers]

"""Why MATT answers so: the paths of the best candidates, from the served parts alone.

Legend: C candidates, P sampled paths, Q = P + 1 with the full path in front, F fields.
"""

import numpy as np
import torch

from training.asking import Infer, Shown, Tensors, ordered
from training.data.columns import feature_layout
from training.interactions import Interactions
from training.layers.requests import CANDIDATES, USER_ID
from training.layers.users import USER, follows
from training.steps.path_sampler import REQUEST_KEY
from training.systems.matt.model import kept_fields
from training.systems.matt.servables import MASKS, PATH_SCORES, WEIGHTS

MOST = 3
"""Candidates that are explained: the best ones."""


def explained(infer: Infer, model: str, interactions: Interactions, request: Tensors, answer: Tensors) -> list[Shown]:
    """A table for each of the best candidates: the fields that each path keeps, its share, and its score.

    The paths follow the request key and the candidate, so that they are those of the answer.
    """
    best = ordered(answer["scores"][0])[:MOST]
    candidates = request[CANDIDATES.name][:, best]
    own, key = {CANDIDATES.name: candidates}, {REQUEST_KEY.name: request[REQUEST_KEY.name]}
    layout = feature_layout(interactions.schema)
    user = fields = {USER_ID.name: request[USER_ID.name]}
    if follows(layout):
        user = infer(f"{model}_user", {**user, **own})
        fields = {USER: user[USER]}
    paths = infer(f"{model}_sampler", {**fields, **own, **key})
    drawn = {spec.name: paths[spec.name] for spec in (MASKS, WEIGHTS)}
    scored = infer(f"{model}_scorer", {**user, **own, **drawn})
    names = [field.name for field in layout.fields]
    masks = torch.from_numpy(np.array(drawn[MASKS.name])).reshape(len(best), -1)
    keep = kept_fields(masks, len(names)).numpy()
    shares, scores = (one.reshape(len(best), -1) for one in (drawn[WEIGHTS.name], scored[PATH_SCORES.name]))
    return [
        Shown(
            (),
            f"paths of {interactions.titles[interactions.dense('item', item)]} (item {item}): "
            f"score {scored['scores'][0, number]:.4f}, spread {scored['spread'][0, number]:.4f}",
            ("path", "kept fields", "share", "score"),
            [
                [
                    path or "full",
                    ", ".join(name for name, kept in zip(names, keep[number, path], strict=True) if kept),
                    float(shares[number, path]),
                    float(scores[number, path]),
                ]
                for path in range(keep.shape[1])
            ],
        )
        for number, item in enumerate(candidates[0].tolist())
    ]

"""What DEA serves: user id and candidates -> scores (click probabilities), in one graph, or in one behind the step that
knows what follows from the users' histories."""

import copy
from dataclasses import replace

import torch

from training.data.click import ClickData
from training.layers.click_release import behind_rows, plain_release, reference_of, requests
from training.layers.requests import MAX_CANDIDATES, SCORES, asked
from training.layers.users import follows
from training.servable import Signature, servable
from training.systems.dea.model import DEA, Config
from training.systems.dea.served import Ranker, Scorer


def servables(name: str, model: DEA, config: Config, data: ClickData) -> tuple[Signature, ...]:
    """The models of a release: the plain ones where a request carries fields of its own, or where fields are more
    than ids, of which the absorbed form knows nothing."""
    if data.context or not model.embedding.is_of_ids:
        return plain_release(name, model, data)
    double = copy.deepcopy(model).double().eval()
    if follows(data.features.layout):
        return behind_rows(name, Scorer(model, data), Scorer(double, data), model, data)
    exact = Ranker(double, data).eval()
    fast = servable(
        name=name,
        module=Ranker(model, data),
        inputs=tuple(asked(data.interactions)),
        outputs=(SCORES,),
        example=requests(data, MAX_CANDIDATES),
    )
    return (replace(fast, reference=reference_of(model, data), eager64=torch.no_grad()(exact.forward)),)

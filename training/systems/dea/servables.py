"""What DEA serves: user id and candidates -> scores (click probabilities), in one graph."""

import copy
from dataclasses import replace

import torch

from training.data.click import ClickData
from training.layers.click_release import plain_release, reference_of, requests
from training.layers.requests import MAX_CANDIDATES, SCORES, asked
from training.servable import Signature, servable
from training.systems.dea.model import DEA, Config
from training.systems.dea.served import Ranker


def servables(name: str, model: DEA, config: Config, data: ClickData) -> tuple[Signature, ...]:
    """The one model of a release: the plain one where a request carries fields of its own, or where fields are more
    than ids, of which the absorbed form knows nothing."""
    if data.context or not model.embedding.is_of_ids:
        return plain_release(name, model, data)
    exact = Ranker(copy.deepcopy(model).double().eval(), data).eval()
    fast = servable(
        name=name,
        module=Ranker(model, data),
        inputs=tuple(asked(data.interactions)),
        outputs=(SCORES,),
        example=requests(data, MAX_CANDIDATES),
    )
    return (replace(fast, reference=reference_of(model, data), eager64=torch.no_grad()(exact.forward)),)

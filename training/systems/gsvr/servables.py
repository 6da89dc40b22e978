"""What GSVR serves: the task's plain form over tables of means, and beside it a model that says how sure it is.

gsvr_history   user id -> history, profile, number
gsvr_scorer    these, candidates -> scores
gsvr_spread    these, candidates -> mean and deviation of the score in each scenario; asked for explanations alone
gsvr           user id, candidates -> scores: history, then scorer
"""

import copy
from dataclasses import replace

from training.data.click import ClickData
from training.layers.click_release import Scorer, behind_rows, requests
from training.layers.requests import CANDIDATES
from training.servable import Packed, Signature, TensorSpec, servable
from training.systems.gsvr.model import GSVR, Config
from training.systems.gsvr.served import ServedGSVR, Spread

MOST = 16
"""Candidates of one request whose spread is asked for."""


def servables(name: str, model: GSVR, config: Config, data: ClickData) -> tuple[Signature, ...]:
    """The models of a release. The controls have no spread: they have no distributions, or none of the scenarios."""
    exact = copy.deepcopy(model).double().eval()
    served, wide = (Scorer(ServedGSVR(one), data) for one in (model.eval(), exact))
    users, scorer, ensemble = behind_rows(name, served, wide, model, data)
    if config.cells != "variational" or config.permuted:
        return users, scorer, ensemble
    return users, scorer, _spread(name, model, data, (users, scorer)), ensemble


def spread_outputs(num_scenarios: int) -> tuple[TensorSpec, ...]:
    """Mean and deviation of each scenario."""
    return tuple(
        TensorSpec(name=f"{what}_{number}", dtype="float32", shape=("candidates",), ragged=True, of="candidates")
        for number in range(num_scenarios)
        for what in ("mean", "deviation")
    )


def _spread(name: str, model: GSVR, data: ClickData, parts: tuple[Signature, Signature]) -> Signature:
    users, scorer = parts
    example = requests(data, MOST)

    def rows(number: int, seed: int) -> Packed:
        user_id, ids, ends, *moment = example(number, seed)
        return ids, ends, *users.eager(user_id, ids, ends), *moment

    inputs = tuple(replace(one, max_elements=MOST) if one.name == CANDIDATES.name else one for one in scorer.inputs)
    return servable(
        name=f"{name}_spread",
        module=Spread(Scorer(model, data), model).eval(),
        inputs=inputs,
        outputs=spread_outputs(model.host.num_scenarios),
        example=rows,
        max_batch_size=scorer.max_batch_size,
    )

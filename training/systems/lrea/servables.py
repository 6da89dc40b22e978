"""What LREA serves, see `training.layers.prestored`: the user's state is Kc and Vc, or their product."""

import copy

import torch

from training.data.click import ClickData
from training.layers.click_release import plain_release
from training.layers.prestored import Answers, fits, prestored, rows_of, stamp_of
from training.servable import Signature, TensorSpec
from training.steps.rows import Rows
from training.steps.user_state import STAMP
from training.systems.lrea.model import LREA, Config
from training.systems.lrea.served import SCORERS, UserEncoder


def state_specs(config: Config) -> tuple[TensorSpec, ...]:
    """The user's state: M or Kc and Vc, then ub, the profile's share of the first layer, the stamp."""
    width = config.dim // config.heads
    absorbed = (TensorSpec(name="product", dtype="float32", shape=(config.dim, config.dim)),)
    factored = tuple(
        TensorSpec(name=name, dtype="float32", shape=(config.heads, config.rank, width)) for name in ("keys", "values")
    )
    return (
        *(absorbed if config.layout == "absorbed" else factored),
        TensorSpec(name="bias", dtype="float32", shape=(config.dim,)),
        TensorSpec(name="profile_share", dtype="float32", shape=(config.hidden[0],)),
        STAMP,
    )


def answers(model: LREA, histories: Rows, dtype: torch.dtype, stamp: int) -> Answers:
    """Of a copy in one dtype."""
    own = copy.deepcopy(model).to(dtype).eval()
    scorer = SCORERS[model.config.layout](own, stamp).eval()
    return Answers(encoder=UserEncoder(own, stamp).eval(), scorer=scorer, histories=histories)


def servables(name: str, model: LREA, config: Config, data: ClickData) -> tuple[Signature, ...]:
    """The four models of a release; the plain ones where a prestored state does not know all of a request."""
    if not fits(data):
        return plain_release(name, model, data)
    stamp, rows = stamp_of(model), rows_of(data)
    served, exact = (answers(model, rows, dtype, stamp) for dtype in (torch.float32, torch.float64))
    return prestored(name, data, model, state_specs(config), served, exact)

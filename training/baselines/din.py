"""DIN: target attention over the full history, one weight per event from a small network.

Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018, https://arxiv.org/abs/1706.06978

Differs from the paper: SiLU instead of Dice in the activation unit; its input [s, t, s*t] leaves out s - t, which is
linear in s and t; the weighted sum is divided by the number of events, since histories run from 0 to 256; the
embeddings and the final network are those of every ranking system here.

Beside it din_ages, a control (our design): the same with a vector for the age of each event added to the event's.

Legend: B batch.
"""

from dataclasses import replace
from functools import partial

from jaxtyping import Float
from torch import Tensor

from training.data.click import AGES, HISTORY, ClickBatch
from training.layers.activation import ActivationConfig as Config
from training.layers.activation import LocalActivation
from training.layers.ages import AgeEmbedding
from training.schema import Schema
from training.system import System
from training.tasks.click import CLICK


class DIN(LocalActivation):
    """The activation unit over the vectors of item and value, and of age where `by_age` says so."""

    def __init__(self, config: Config, schema: Schema, *, by_age: bool = False) -> None:
        super().__init__(config, schema)
        self.ages = AgeEmbedding(config.dim) if by_age else None

    def forward(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        history, mask, target, profile = self.tables.look_up(batch)
        if self.ages is not None:
            history = history + self.ages(batch.history_ages)
        return self.tower(self.interest(history, mask, target), target, profile)


SYSTEM = System(
    name="din",
    title="Deep Interest Network",
    paper="https://arxiv.org/abs/1706.06978",
    provenance="attention from the paper; embeddings and final network are our design",
    task=CLICK,
    config=Config,
    baseline=None,
    build=DIN,
    reads=frozenset({HISTORY}),
    quick={"max_length": 12},
)

WITH_AGES = replace(
    SYSTEM,
    name="din_ages",
    title="Deep Interest Network with the events' ages, a control",
    provenance="attention from the paper; ages, embeddings and final network are our design",
    build=partial(DIN, by_age=True),
    reads=frozenset({HISTORY, AGES}),
)

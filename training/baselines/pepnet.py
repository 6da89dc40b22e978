"""PEPNet, its embedding gates alone: the history is pooled, then the scenario gates what was pooled.

Chang et al., "PEPNet: Parameter and Embedding Personalized Network", KDD 2023, https://arxiv.org/abs/2302.01115

Differs from the paper: one gate for each of the pooled history, the target and the profile, whose other input is the
vector of the scenario; the gates of the network's layers (PPNet), and several tasks, are left out; embeddings and final
network are those of every ranking system here. So it is the coarse rival of a model that tailors each behaviour.

Legend: B batch, L history, D width.
"""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from training.data.click import HISTORY
from training.layers.ranker import Embedded, RankerConfig, Tower
from training.layers.scenarios import Gate, ScenarioModel, masked_mean, scene_vectors
from training.needs import SCENARIOS
from training.schema import Schema
from training.system import System
from training.tasks.click import CLICK


@dataclass(frozen=True, kw_only=True)
class Config(RankerConfig):
    """Sizes of the shared parts and of the gates."""

    gate_units: int = 16
    """Hidden units of a gate."""


class PEPNet(ScenarioModel):
    """The shared final network over gated vectors."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        self.scenes = scene_vectors(self.axis, config.dim)
        self.gates = nn.ModuleList(Gate(config.dim, config.dim, config.gate_units) for _ in range(3))
        self.tower = Tower(config.dim, config.hidden, config.dropout)

    def logits(self, embedded: Embedded, scenario: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        scene = self.scenes(scenario)
        parts = (masked_mean(embedded.history, embedded.mask), embedded.target, embedded.profile)
        return self.tower(*(gate(scene, part) for gate, part in zip(self.gates, parts, strict=True)))


SYSTEM = System(
    name="pepnet",
    title="PEPNet: gates by scenario over pooled behaviours",
    paper="https://arxiv.org/abs/2302.01115",
    provenance="gated embeddings from the paper; which vectors are gated, no gates of layers, sizes are our design",
    task=CLICK,
    config=Config,
    baseline=None,
    build=PEPNet,
    reads=frozenset({HISTORY}),
    needs=(SCENARIOS,),
    quick={"max_length": 12},
)

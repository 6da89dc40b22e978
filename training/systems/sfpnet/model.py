"""SFPNet's trained module: blocks that tailor every behaviour to the scenario, then target attention.

Legend: B batch, L history, D width, X context width, J blocks. Equations are numbered here (the first from public
summaries, the others reconstructed, see the package docstring):

    DAP(b)  = [mean_j b_j ; sqrt(mean_j b_j^2 - (mean_j b_j)^2)]                              (1)
    x^      = x * 2 sigmoid(W_2 relu(W_1 [e_s ; x])),   x one of user, item, DAP(b)           (2), SAM
    c       = relu(W_c [user^ ; item^ ; DAP(b)^])                                             (3)
    b_j'    = LN(b_j + W_o relu(W_b b_j + W_r c))                                             (4), RTM
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.data.click import ClickBatch, ClickData
from training.layers.activation import ActivationConfig, LocalActivation
from training.layers.ranker import Embedded
from training.layers.scenarios import Gate, scenario_axis, scenario_counts, scene_vectors
from training.schema import Schema, size_of
from training.settings import or_none


@dataclass(frozen=True, kw_only=True)
class Config(ActivationConfig):
    """Sizes are ours, the paper's are unknown."""

    blocks: int = or_none(2)
    """Scenario-tailoring blocks; 0 leaves target attention alone."""
    context_dim: int = 32
    """Width of a block's context."""
    gate_units: int = 16
    """Hidden units of a gate."""
    tailoring: Literal["residual", "additive"] = "residual"
    """Form of what a block adds to a behaviour: it follows from the behaviour and the context, or from the context
    alone, the same for all; the control."""
    item_in_context: bool = False
    """Sight of the candidate in the blocks. Without, all of them run once for a user and a scenario."""

    def __post_init__(self) -> None:
        if self.blocks < 0:
            raise ValueError(f"blocks is {self.blocks}; it must be at least 0")


class Tailored(NamedTuple):
    """What blocks make of a user in a scenario."""

    history: Float[Tensor, "B L D"]
    user: Float[Tensor, "B D"]
    moved: Float[Tensor, "B L"]
    """Length of what blocks added to each behaviour, before the norm."""
    gates: Float[Tensor, "B 2J"]
    """Mean strength of each block's gates of the user and of the pooled behaviours."""


def distribution(history: Float[Tensor, "B L D"], mask: Float[Tensor, "B L"]) -> Float[Tensor, "B 2D"]:
    """Eq. (1), over the behaviours that there are; zero for none, but for the small number under the root."""
    weights = mask / mask.sum(dim=1, keepdim=True).clamp(min=1)
    mean = (weights[:, None] @ history)[:, 0]
    second = (weights[:, None] @ history.square())[:, 0]
    return torch.cat([mean, ((second - mean.square()).clamp(min=0) + 1e-8).sqrt()], dim=1)


class Block(nn.Module):
    """SAM, then RTM; it starts as a norm of each behaviour."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim, self.additive = config.dim, config.tailoring == "additive"
        self.of_user, self.of_pooled = Gate(dim, dim, config.gate_units), Gate(dim, 2 * dim, config.gate_units)
        width = 3 * dim + dim * config.item_in_context
        self.context = nn.Linear(width, config.context_dim)
        self.of_behaviour = None if self.additive else nn.Linear(dim, dim)
        self.of_context, self.out = nn.Linear(config.context_dim, dim), nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.out.weight)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, tailored: Tailored, mask: Float[Tensor, "B L"], scene: Float[Tensor, "B D"], item: Float[Tensor, "B I"]
    ) -> Tailored:
        """`item` is the candidate after its gate, of width 0 where blocks do not see it."""
        history, pooled = tailored.history, distribution(tailored.history, mask)
        strengths = self.of_user.strength(scene, tailored.user), self.of_pooled.strength(scene, pooled)
        user = tailored.user * strengths[0]
        parts = [user, pooled * strengths[1]] + [item] * bool(item.shape[1])
        shift = self.of_context(torch.relu(self.context(torch.cat(parts, dim=1))))[:, None]  # (B, 1, D)
        if self.of_behaviour is not None:
            shift = shift + self.of_behaviour(history)
        added = self.out(torch.relu(shift))
        means = [one.mean(dim=1, keepdim=True) for one in strengths]
        return Tailored(
            self.norm(history + added),
            user,
            tailored.moved + added.square().sum(dim=2).sqrt() * mask,
            torch.cat([tailored.gates, *means], dim=1),
        )


class SFPNet(LocalActivation):
    """Blocks, then target attention over the tailored behaviours, and the final network."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        self.config = config
        axis = scenario_axis(schema)
        self.num_scenarios = size_of(axis.fields[0])
        self.scenes = scene_vectors(axis, config.dim)
        self.norm = nn.LayerNorm(config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.item_gates = nn.ModuleList(Gate(config.dim, config.dim, config.gate_units) for _ in range(config.blocks))

    def prepare(self, data: ClickData) -> None:
        """Fill all tables, that of the scenarios too."""
        super().prepare(data)
        self.scenes.prepare(scenario_counts(data, self.num_scenarios))

    def forward(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        embedded = self.tables.look_up(batch)
        return self.score(self.tailor(embedded, batch.scenario), embedded.mask, embedded.target, batch.scenario)

    def tailor(self, embedded: Embedded, scenario: Int[Tensor, " B"]) -> Tailored:
        """The user's side; it depends on the target only where blocks see it."""
        scene, item = self.scenes(scenario), embedded.target
        tailored = Tailored(
            self.norm(embedded.history),
            embedded.profile,
            torch.zeros_like(embedded.mask),
            embedded.profile[:, :0],
        )
        for block, gate in zip(self.blocks, self.item_gates, strict=True):
            item = gate(scene, item) if self.config.item_in_context else embedded.target[:, :0]
            tailored = block(tailored, embedded.mask, scene, item)
        return tailored

    def score(
        self,
        tailored: Tailored,
        mask: Float[Tensor, "B L"],
        target: Float[Tensor, "B D"],
        scenario: Int[Tensor, " B"],
    ) -> Float[Tensor, " B"]:
        """The candidates' side: gates of the target, its attention, the final network."""
        scene = self.scenes(scenario)
        for gate in self.item_gates:
            target = gate(scene, target)
        interest = self.interest(tailored.history, mask, target)
        return self.tower(interest, target, tailored.user + scene)

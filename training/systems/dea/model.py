"""DEA's trained module: configuration, pair memory, attention layers, and the logit with dropped fields.

The order of computation is that of the served form (kernels/combo_id_attention/reference.py, equations (1) to (9)):
each codebook row is scored first, then the gate mixes the two scores.

Legend: B batch, F fields, Q = F (F - 1) / 2 pairs i < j, D width, d width of a code, H heads, P width of a token.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from kernels.combo_id_attention import Codebooks, Fusion, absorb, field_salt, mix
from kernels.combo_id_attention.reference import PRIMES, MixMode, attend, field_codes, gate, split
from training.layers.columns import Features
from training.layers.fields import FieldConfig, FieldModel, FieldNetwork
from training.schema import Field, Schema
from training.systems.dea.abundance import Abundance, thresholds
from training.warm_start import Axis

_SALT_SEED = 2503_11233
_MOST_LAYERS = 3
_STRICTNESS = math.log(math.e - 1)
"""At the start; softplus of it is 1."""


@dataclass(frozen=True, kw_only=True)
class Config(FieldConfig):
    """Sizes are ours, the paper's are unknown."""

    heads: int = 2
    """Heads of each attention; they share the width of the embedding."""
    layers: int = 1
    """Layers of attention, 1 to 3, with one pair memory for all."""
    fusion: MixMode = "gate"
    """Rule by which the two score maps become one."""
    codebook_rows: int = 2**15
    """Rows of the first codebook; the second has one fewer, so that they share no divisor."""
    code_dim: int = 16
    """Width of a codebook's rows."""
    code_hidden: int = 16
    """Units of the network that scores a code."""
    code_dropout: float = 0.1
    """Share of a code's elements that a training step leaves out."""
    code_rate: float = 0.3
    """Learning rate of the codebooks as a share of the others'; they have no weight decay."""
    refresh_every: int = 100
    """Steps between two measurements of abundance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads < 1:
            raise ValueError(f"heads is {self.heads}; it must be at least 1")
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        if not 1 <= self.layers <= _MOST_LAYERS:
            raise ValueError(f"layers must lie in 1..{_MOST_LAYERS}, not {self.layers}")
        if not 2 <= self.codebook_rows <= min(PRIMES):
            raise ValueError(f"codebook_rows must lie in 2..{min(PRIMES)}, not {self.codebook_rows}")
        if self.refresh_every < 1:
            raise ValueError(f"refresh_every is {self.refresh_every}; it must be at least 1")


class Codes(NamedTuple):
    """What both codebooks hold for the pairs of a batch."""

    first: Float[Tensor, "B Q d"]
    second: Float[Tensor, "B Q d"]


class PairMemory(nn.Module):
    """Two siamese codebooks of hashed pair ids.

    Rows start at zero: a pair that was never trained, and collides with none that was, has the zero code.
    """

    salt: Int64[Tensor, "2 4 F"]
    left: Int64[Tensor, " Q"]
    right: Int64[Tensor, " Q"]

    def __init__(self, fields: tuple[Field, ...], config: Config) -> None:
        super().__init__()
        num_fields = len(fields)
        self.by_number = Axis(fields)
        """See `training.warm_start`: rows are hashes of the ids' numbers."""
        self.first = nn.Parameter(torch.zeros(config.codebook_rows, config.code_dim))
        self.second = nn.Parameter(torch.zeros(config.codebook_rows - 1, config.code_dim))
        self.dropout = nn.Dropout(config.code_dropout)
        self.register_buffer("salt", field_salt(num_fields, _SALT_SEED))
        left, right = torch.triu_indices(num_fields, num_fields, 1)
        self.register_buffer("left", left)
        self.register_buffer("right", right)

    def rows(self, ids: Int64[Tensor, "B F"]) -> tuple[Int[Tensor, "B Q"], Int[Tensor, "B Q"]]:
        """Row of each pair in each codebook, equations (1) and (2) of the op; any int64 is a legal id."""
        codes = field_codes(ids, self.salt)
        total = codes[:, self.left] + codes[:, self.right]  # (B, Q, 2)
        first, second = (total[..., k] % prime for k, prime in enumerate(PRIMES))
        return first % len(self.first), second % len(self.second)

    def forward(self, ids: Int64[Tensor, "B F"]) -> Codes:
        first, second = self.rows(ids)
        return Codes(
            self.dropout(nn.functional.embedding(first, self.first)),
            self.dropout(nn.functional.embedding(second, self.second)),
        )


class Layer(nn.Module):
    """One layer of the two attentions; its output is added to the fields' vectors."""

    position: Int64[Tensor, " FF"]

    def __init__(self, num_fields: int, config: Config) -> None:
        super().__init__()
        self.mode: MixMode = config.fusion
        self.heads = config.heads
        self.num_fields = num_fields
        self.tokens = nn.Linear(config.dim, (3 * config.heads + 2) * (config.dim // config.heads))
        self.hidden = nn.Linear(config.code_dim, config.code_hidden)
        self.output = nn.Linear(config.code_hidden, config.heads)
        self.share = nn.Parameter(torch.zeros(config.heads))
        self.strictness = nn.Parameter(torch.tensor(_STRICTNESS))
        pairs = torch.full((num_fields, num_fields), num_fields * (num_fields - 1) // 2)
        left, right = torch.triu_indices(num_fields, num_fields, 1)
        pairs[left, right] = pairs[right, left] = torch.arange(len(left))
        self.register_buffer("position", pairs.flatten())

    def score(self, code: Float[Tensor, "*N d"]) -> Float[Tensor, "*N H"]:
        """w2 . ReLU(W1 c + b1) + b2 per head, equation (9) of the op."""
        return absorb(code, (self.hidden.weight, self.hidden.bias), (self.output.weight, self.output.bias))

    def neutral(self) -> Float[Tensor, " H"]:
        """Score of the zero code: of a pair that nothing is known about, and so of a pair with a dropped field."""
        return self.score(self.hidden.weight.new_zeros(self.hidden.in_features))

    def codebooks(self, memory: PairMemory) -> Codebooks:
        """The memory as this layer sees it: one score per row and head."""
        return Codebooks(self.score(memory.first), self.score(memory.second), memory.salt)

    def fusion(self, deficiency: Float[Tensor, "F F"]) -> Fusion:
        return Fusion(mix(self.mode, torch.sigmoid(self.share)), thresholds(self.strictness, deficiency))

    def pair_scores(
        self, share: Float[Tensor, "B Q"], codes: Codes, kept: Bool[Tensor, "B Q"] | None
    ) -> Float[Tensor, "B H F F"]:
        """A^c, equation (4) of the op, neutral for pairs that are not kept; zero for a field with itself."""
        first, second = self.score(codes.first), self.score(codes.second)
        scores = second + share[..., None] * (first - second)
        if kept is not None:
            scores = torch.where(kept[..., None], scores, self.neutral())
        padded = nn.functional.pad(scores, (0, 0, 0, 1))
        by_field = padded.index_select(1, self.position).unflatten(1, (self.num_fields, self.num_fields))
        return by_field.movedim(3, 1)

    def forward(
        self,
        fields: Float[Tensor, "B F D"],
        pairs: "Pairs",
        deficiency: Float[Tensor, "F F"],
    ) -> Float[Tensor, "B F D"]:
        heads = split(self.tokens(fields), self.heads)
        share = gate(heads, heads)[:, 0, pairs.left, pairs.right]
        return attend(heads, self.pair_scores(share, pairs.codes, pairs.kept), self.fusion(deficiency))


class Pairs(NamedTuple):
    """What all layers share of a batch: the pairs' fields, their codes, and which pairs are of kept fields."""

    left: Int64[Tensor, " Q"]
    right: Int64[Tensor, " Q"]
    codes: Codes
    kept: Bool[Tensor, "B Q"] | None


class DEA(FieldModel):
    """Combo-ID attention fused with collapse-avoiding attention over the fields, in front of the shared network.

    Pair ids are made of the ids that the embedding knows, so that rare ids share the pairs of the unknown. A dropped
    field has its mean vector, and its pairs the neutral code score. Of a dense or multi-valued field pairs know whether
    it is there (our design).
    """

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        num_fields = self.num_fields
        self.memory = PairMemory(self.embedding.fields, config)
        self.abundance = Abundance(num_fields)
        self.layers = nn.ModuleList(Layer(num_fields, config) for _ in range(config.layers))
        self.network = FieldNetwork(num_fields * config.dim, config)

    def logits(self, x: Features, keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, " B"]:
        return self.network(self.attended(x, keep))

    def attended(self, x: Features, keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, "B F D"]:
        """The fields' vectors after all layers."""
        fields, pairs = self.embedding(x, keep), self.pairs(x.ids, keep)
        for layer in self.layers:
            fields = fields + layer(fields, pairs, self.abundance.deficiency)
        return fields

    def pairs(self, ids: Int64[Tensor, "B F"], keep: Bool[Tensor, "B F"] | None = None) -> Pairs:
        """The pairs of a batch."""
        left, right = self.memory.left, self.memory.right
        kept = None if keep is None else keep[:, left] & keep[:, right]
        return Pairs(left, right, self.memory(self.embedding.known(ids)), kept)

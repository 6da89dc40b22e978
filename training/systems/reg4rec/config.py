"""What can be chosen of REG4Rec. Sizes fit two CPU cores and minutes; `GPU` is a run for an accelerator."""

from dataclasses import dataclass
from typing import Literal

from training.layers.semantic_ids import Codebooks
from training.settings import or_none
from training.tasks.next_item import NextItemConfig

Ids = Literal["mpq", "mmq", "mmq2", "rqvae", "letter"]
CODEBOOKS: dict[Ids, Codebooks] = {
    "mpq": Codebooks(4, 512),
    "mmq": Codebooks(6, 100),
    "mmq2": Codebooks(6, 100),
    "rqvae": Codebooks(4, 256),
    "letter": Codebooks(4, 256),
}
"""Shape of the ids of each tokenizer with its defaults, and of LETTER's."""


@dataclass(frozen=True, kw_only=True)
class Config(NextItemConfig):
    """Sizes and training."""

    ids: Ids = "mpq"
    """Source of the semantic ids: a tokenizer's run, or LETTER's, which are published with Beauty."""
    codebooks: int | None = None
    """Tokens of an item (M), where the tokenizer's run differs from its defaults."""
    words: int | None = None
    """Words of a codebook (D), where the tokenizer's run differs from its defaults."""
    dim: int = 96
    """Width of the transformer."""
    heads: int = 4
    """Heads of each attention."""
    encoder_layers: int = 2
    """Blocks over the history."""
    decoder_layers: int = 1
    """Blocks over the path."""
    dropout: float = 0.0
    """Share of each block's output that a training step leaves out."""
    temperature: float = 0.05
    """Divisor of the cosines of tokens."""
    epochs: int = 8
    """Epochs of the supervised stage; its weights with the best NDCG@10 on the validation part are kept."""
    batch_size: int = 32
    """Users of a supervised step; each of their places is a target."""
    learning_rate: float = 2e-3
    """Rate of AdamW in the supervised stage at its highest."""
    schedule: Literal["constant", "linear"] = "linear"
    """Schedule of the rate. linear: it rises over the first 2 % of a stage's steps, then falls to zero."""
    weight_decay: float = 0.01
    """Decay of AdamW in both stages."""
    category_weight: float = 0.5
    """Weight of the category's cross-entropy beside that of the tokens."""
    ordered_share: float = 1.0
    """Share of the supervised stage, its last, that learns tokens in the order of confidence; before that the order is
    random."""
    preference_epochs: int = or_none(1)
    """Epochs of the preference stage (PARS); 0 leaves it out."""
    preference_batch_size: int = 128
    """Users of a preference step, one random place each."""
    preference_rate: float = 1e-5
    """Rate of AdamW in the preference stage, on the same schedule."""
    rollouts: int = 16
    """Paths sampled per user (G)."""
    clip: float = 0.2
    """Distance by which a path's probability may move from that under which it was sampled before its reward stops
    counting."""
    kl_weight: float = 0.02
    """Weight of the divergence from the supervised stage's weights."""
    window: int = 5
    """Future items that a path is rewarded for (MSRA); 1 is the next item alone."""
    window_decay: float = 0.6
    """Weight of a future item relative to the one before it."""
    beams: int = 32
    """Paths kept while decoding."""
    over: int = 2
    """Candidates that pruning looks at, as a multiple of `beams`."""
    theta: float = 0.5
    """Share of adjacent steps that must agree in category where paths are pruned; 0 switches pruning off."""
    validity: Literal["masked", "checked"] = "masked"
    """Rule for tokens. masked: only those that lead to an item can be chosen. checked: sets that are no item are
    dropped at the end."""
    merge: Literal["logsumexp", "max"] = "logsumexp"
    """Score of a set that several orders reached."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("dropout", "ordered_share", "theta"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be in 0..1")
        for name in ("beams", "over", "rollouts", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")

    @property
    def shape(self) -> Codebooks:
        """M and D."""
        default = CODEBOOKS[self.ids]
        return Codebooks(self.codebooks or default.codebooks, self.words or default.words)


GPU = Config(
    codebooks=8,
    words=300,
    dim=128,
    heads=8,
    encoder_layers=2,
    decoder_layers=2,
    dropout=0.1,
    batch_size=1024,
    preference_batch_size=512,
    epochs=60,
    beams=50,
    validity="checked",
)
"""The notes' industrial sizes: 8 codebooks of 300 words, two blocks on each side."""

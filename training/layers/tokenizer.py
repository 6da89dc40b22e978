"""What all tokenizers share: their data, how their ids are made and judged, and what they leave for other systems.

Ids are computed in fp64 (our design): a score then differs by 1e-15 between batch sizes and runtimes instead of 1e-7,
so that the same item gets the same ids alone, in a batch, and in ONNX Runtime.

The second modality is `graph`, attributes or a knowledge graph, where the papers have an image encoder; it is no image.
An item without it has the zero vector, and shares with all such items the words that the zero vector gets.

Legend: N items, B items of a batch, P ids of an item, W width of what is reconstructed.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.catalogue import CatalogueData, ItemBatch, ItemSplit
from training.data.sequences import Dataset
from training.layers.codebook_report import codebook_metrics
from training.schema import Schema
from training.system import Split, Stage

Predict = Callable[[nn.Module, Split], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """What all tokenizers share."""

    dataset: Dataset = "beauty"
    """Data set that it is trained on."""
    words: int = 100
    """Words of each codebook."""
    latent: int = 64
    """Width of latents and words."""
    hidden: int = 256
    """Hidden units of experts and decoders."""
    reseed_every: int = 100
    """Steps after which words that none of them used are put where a random item is."""
    epochs: int = 25
    """Passes over the items at most."""
    batch_size: int = 256
    """Items of a step."""
    learning_rate: float = 1e-3
    """Rate of AdamW."""
    weight_decay: float = 1e-4
    """Decay of AdamW: each step takes this times the learning rate off every weight."""
    patience: int = 10
    """Passes without a smaller reconstruction loss on held-out items before training stops."""

    def __post_init__(self) -> None:
        for name in ("words", "latent", "hidden", "reseed_every", "epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


class Tokens(NamedTuple):
    """What a tokenizer says of items."""

    codes: Int64[Tensor, "B P"]
    weights: Float[Tensor, "B P"]
    """How much each id says; 0 where it does not count."""
    target: Float[Tensor, "B W"]
    """The content, as it is to be reconstructed."""
    decoded: Float[Tensor, "B W"]


class Tokenizer(nn.Module):
    """A trained function from content to ids."""

    num_words: int
    """Of each codebook that is learnt."""
    num_positions: int
    """P: ids of an item that are learnt."""

    def tokens(self, batch: ItemBatch) -> Tokens:
        """In the dtype of the weights, which the batch has too."""
        raise NotImplementedError


Loss = Callable[[nn.Module, ItemBatch, float], tuple[Tensor, dict[str, Tensor]]]


def content_stage(config: TokenizerConfig, loss: Loss) -> Stage:
    """Training on the catalogue, until held-out items are reconstructed no better."""
    return Stage(
        name="content",
        loss=loss,
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        patience=config.patience,
        monitor="recon_loss",
    )


def everything(split: ItemSplit) -> ItemBatch:
    """All items of a split."""
    return split.batch(np.arange(len(split)))


def width_of(schema: Schema, name: str) -> int:
    """Elements of a vector field; ValueError where the schema leaves it open."""
    width = schema[name].width
    if width is None:
        raise ValueError(f"field '{name}' of {schema.dataset} has no width")
    return width


def exact(tokenizer: Any) -> Any:
    """A copy in fp64, in evaluation mode."""
    return copy.deepcopy(tokenizer).double().eval()


class Judge(nn.Module):
    """Per item, from fp64: ids [B, P], then weights [B, P], then the squared reconstruction error [B, 1]."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer: Tokenizer = exact(tokenizer)

    def forward(self, batch: ItemBatch) -> Float[Tensor, "B _"]:
        doubled = ItemBatch(batch.item, *(part.double() for part in batch[1:]))
        codes, weights, target, decoded = self.tokenizer.tokens(doubled)
        error = (target - decoded).square().sum(1, keepdim=True)
        return torch.cat([codes.double(), weights, error], dim=1)


class Judged(NamedTuple):
    """What `Judge` found of a split's items."""

    codes: np.ndarray
    """int64 [len, P]"""
    weights: np.ndarray
    """float32 [len, P]"""
    error: np.ndarray
    """float32 [len]: squared, summed over the dimensions."""


def judge(tokenizer: Tokenizer, predict: Predict, split: Split) -> Judged:
    """Ids, weights and reconstruction errors of a split's items."""
    places = tokenizer.num_positions
    answers = predict(Judge(tokenizer), split)
    return Judged(answers[:, :places].astype(np.int64), answers[:, places:-1], answers[:, -1])


def metrics(tokenizer: Tokenizer, judged: Judged, width: int) -> dict[str, float]:
    """Both reductions of the reconstruction loss (sum and mean over the dimensions), and the use of the codebooks."""
    error = float(judged.error.mean(dtype=np.float64))
    return {
        "recon_loss": error,
        "recon_mean": error / width,
        **codebook_metrics(judged.codes, tokenizer.num_words),
    }


def evaluate(tokenizer: Tokenizer, predict: Predict, split: ItemSplit) -> dict[str, float]:
    """`metrics` over the items of a split."""
    return metrics(tokenizer, judge(tokenizer, predict, split), content_width(split))


def content_width(split: ItemSplit) -> int:
    """Elements of text and second modality together."""
    one = split.batch(np.zeros(1, np.int64))
    return one.text.shape[1] + one.graph.shape[1]


@torch.no_grad()
def catalogue_tokens(tokenizer: Tokenizer, vectors: ItemBatch, batch_size: int = 4096) -> tuple[Tensor, Tensor]:
    """Ids int64 [N + 1, P] and weights float32 [N + 1, P] of the whole catalogue, whose row 0 gets zeros in both."""
    judging = Judge(tokenizer)
    parts = zip(*(part.split(batch_size) for part in vectors), strict=True)
    answers = torch.cat([judging(ItemBatch(*part)) for part in parts])
    answers[0] = 0.0
    places = tokenizer.num_positions
    return answers[:, :places].long(), answers[:, places:-1].float()


def products(tokenizer: Tokenizer, data: CatalogueData) -> dict[str, Tensor]:
    """`codes` int64 and `weights` float32, both [N + 1, P]: what generators take from a tokenizer."""
    codes, weights = catalogue_tokens(tokenizer, data.vectors)
    return {"codes": codes, "weights": weights}

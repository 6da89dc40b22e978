"""The task `semantic_ids`: tokens of items, and what each is worth, from content and behaviour.

A module of this task is a `training.layers.tokenizer.Tokenizer`: `tokens(ItemBatch) -> Tokens`, `num_positions`,
`num_words`, the vectors that it `reads`, and `loss(batch, share_done)` unless its system brings its own stages.

Axes: B items of a request or batch, P ids of an item, W width of what is reconstructed.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from training.asking import Question, Shown, Tensors
from training.data.catalogue import NEEDS, TASK, CatalogueData, ItemBatch, ItemSplit, catalogue
from training.data.synthetic_sequences import synthetic_sequences
from training.interactions import Interactions
from training.layers.codebook_report import codebook_metrics
from training.layers.served_tokenizer import checked, content_requests, ids_or_none, or_nan
from training.layers.tokenizer import Judge, Tokenizer, catalogue_tokens, exact
from training.servable import Packed, Servable, Signature, TensorSpec
from training.system import Column, Predict, Split, Stage, Task, Wanted
from training.traffic import ITEMS, items

_LARGEST = 10**9
"""Of the elements of a client's vectors, and with a minus the smallest: their squares, summed, are finite."""


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """What all tokenizers share."""

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


class Judged(NamedTuple):
    """What a tokenizer makes of a split's items."""

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


def width_read(tokenizer: Tokenizer, split: ItemSplit) -> int:
    """Elements of all vectors that a tokenizer reads."""
    one = split.batch(np.zeros(1, np.int64))
    return sum(getattr(one, name).shape[1] for name in tokenizer.reads)


def products(tokenizer: Tokenizer, data: CatalogueData) -> dict[str, Tensor]:
    """`codes` int64 and `weights` float32, both [N + 1, P]: what generators take from a tokenizer."""
    codes, weights = catalogue_tokens(tokenizer, data.vectors)
    return {"codes": codes, "weights": weights}


def own_loss(module: nn.Module, batch: ItemBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The module's."""
    assert isinstance(module, Tokenizer)
    return module.loss(batch, share_done)


class TokenizerGraph(nn.Module):
    """The plain served form: the vectors that a tokenizer reads -> ids and weights.

    In fp64 from the first layer on, so that ids and zeros of weights do not depend on the batch or the runtime.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer: Tokenizer = exact(tokenizer)

    def forward(self, *vectors: Tensor) -> Packed:
        """Ids int64 and weights float32 [B, P]; of vectors that are not finite -1 and NaN."""
        sids, weights = self.answers(*vectors)
        return sids, weights.float()

    def answers(self, *vectors: Tensor) -> Packed:
        """The same with weights in fp64."""
        parts, valid = checked(vectors)
        tokens = self.tokenizer.tokens(batch_of(self.tokenizer, parts))
        return ids_or_none(tokens.codes, valid), or_nan(tokens.weights, valid)

    def one_by_one(self, *vectors: Tensor) -> Packed:
        """The reference: the tokens of each item alone, whose vectors are finite."""
        rows = zip(*(part.double().split(1) for part in vectors), strict=True)
        found = [self.tokenizer.tokens(batch_of(self.tokenizer, row)) for row in rows]
        return torch.cat([one.codes for one in found]), torch.cat([one.weights for one in found])


def batch_of(tokenizer: Tokenizer, vectors: Packed) -> ItemBatch:
    """Items outside the catalogue, with the vectors that the tokenizer reads; the others are empty."""
    given, nothing = dict(zip(tokenizer.reads, vectors, strict=True)), vectors[0][:, :0]
    nobody = torch.zeros_like(vectors[0][:, 0], dtype=torch.int64)
    return ItemBatch(nobody, *(given.get(name, nothing) for name in ItemBatch._fields[1:]))


class SemanticIdsTask(Task[CatalogueData, ItemSplit]):
    """See the module's docstring."""

    name = TASK
    title = "semantic ids"
    columns = (
        Column(title="utilisation", metric="utilisation", judges=True),
        Column(title="entropy, nats", metric="entropy"),
        Column(title="collisions", metric="collision_rate", direction="min"),
        Column(title="reconstruction loss", metric="recon_loss", direction="min"),
    )
    default = "beauty"
    needs = NEEDS
    traffic = ITEMS

    def view(self, interactions: Interactions, wanted: Wanted) -> CatalogueData:
        return catalogue(interactions, wanted)

    def tested(self, interactions: Interactions) -> str:
        return f"all {len(interactions.items) - 1:,} items"

    def planted(self, seed: int = 0) -> Interactions:
        return synthetic_sequences(seed=seed)

    def stage(self, config: object) -> Stage:
        """Training on the catalogue, until held-out items are reconstructed no better."""
        assert isinstance(config, TokenizerConfig)
        return Stage(
            name="content",
            loss=own_loss,
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            patience=config.patience,
            monitor="recon_loss",
            direction="min",
        )

    def evaluate(self, module: nn.Module, predict: Predict, split: ItemSplit) -> dict[str, float]:
        assert isinstance(module, Tokenizer)
        return metrics(module, judge(module, predict, split), width_read(module, split))

    def request(self, interactions: Interactions, question: Question) -> Tensors:
        """Of one item, with the vectors that the data set has of it."""
        for part in ("user", "history"):
            question.refuse(part, "the ids of an item are the same for everybody")
        if len(question.candidates) != 1:
            raise ValueError("say of which item: --candidates ITEM, one of them")
        item = interactions.dense("item", question.candidates[0])
        return {name: part[item : item + 1] for name, part in interactions.content._asdict().items()}

    def shown(self, interactions: Interactions, question: Question, request: Tensors, answer: Tensors) -> Shown:
        item = question.candidates[0]
        title = interactions.titles[interactions.dense("item", item)]
        beside = [name for name in answer if name != "sids"]
        columns = zip(answer["sids"][0].tolist(), *(answer[name][0].tolist() for name in beside), strict=True)
        rows: list[list[object]] = [[place, *row] for place, row in enumerate(columns, 1)]
        return Shown((f"item {item} ({interactions.name}): {title}",), "semantic ids", ("", "id", *beside), rows)

    def questions(
        self, interactions: Interactions, random: np.random.Generator, count: int, most: int
    ) -> list[Question]:
        return [Question(None, (), (item,), most) for item in items(interactions, random, count)]

    def release(self, name: str, module: nn.Module, data: CatalogueData) -> tuple[Signature, ...]:
        """Raises ValueError where the data lack vectors that the module reads."""
        assert isinstance(module, Tokenizer)
        graph, positions = TokenizerGraph(module).eval(), (module.num_positions,)
        return (
            Servable(
                name=name,
                module=graph,
                inputs=vector_inputs(module, data),
                outputs=(
                    TensorSpec(name="sids", dtype="int64", shape=positions),
                    TensorSpec(name="weights", dtype="float32", shape=positions),
                ),
                example=content_requests(data.vectors, module.reads),
                eager=torch.no_grad()(graph.forward),
                eager64=torch.no_grad()(graph.answers),
                reference=torch.no_grad()(graph.one_by_one),
            ),
        )


def vector_inputs(tokenizer: Tokenizer, data: CatalogueData) -> tuple[TensorSpec, ...]:
    """Of the vectors that it reads. Raises ValueError where the data lack one."""
    widths = {name: getattr(data.vectors, name).shape[1] for name in tokenizer.reads}
    if missing := [name for name, width in widths.items() if not width]:
        raise ValueError(f"the {missing[0]} vectors are missing; the runs that this one builds on must be there")
    return tuple(
        TensorSpec(name=name, dtype="float32", shape=(width,), minimum=-_LARGEST, maximum=_LARGEST)
        for name, width in widths.items()
    )


SEMANTIC_IDS = SemanticIdsTask()

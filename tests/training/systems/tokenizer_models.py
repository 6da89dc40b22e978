"""Small tokenizers on synthetic sequences, with behaviour vectors whose norm follows popularity."""

from typing import Any

import numpy as np
import torch

from training.data.catalogue import CatalogueData, ItemBatch
from training.data.sequences import sequences
from training.data.synthetic_sequences import synthetic_sequences
from training.layers.tokenizer import Tokenizer
from training.system import System, Wanted
from training.tasks.semantic_ids import SEMANTIC_IDS

SMALL: dict[str, Any] = {"words": 12, "latent": 8, "hidden": 16, "batch_size": 32, "epochs": 2, "reseed_every": 3}


def settings(system: System) -> dict[str, Any]:
    """Small sizes; the encoder of RQ-VAE halves its width twice, and its last id counts up to the words of a level."""
    return {**SMALL, "hidden": 64, "words": 32} if system.name == "rqvae" else SMALL


def wanted(**given: torch.Tensor) -> Wanted:
    """With histories of at most 12."""
    return Wanted(frozenset(), 12, given)


def behaviour(num_items: int = 60) -> torch.Tensor:
    """A direction of each item's own, as long as the logarithm of its training count; float32 [N + 1, 8]."""
    counts = sequences(synthetic_sequences(num_items=num_items), wanted()).train_item_counts
    random = torch.randn(num_items + 1, 8, generator=torch.Generator().manual_seed(0))
    lengths = torch.from_numpy(np.log1p(counts)).float() + 0.1
    vectors = random / random.norm(dim=1, keepdim=True) * lengths[:, None]
    vectors[0] = 0.0
    return vectors


def catalogue(system: System, num_items: int = 60, vectors: torch.Tensor | None = None) -> CatalogueData:
    """The catalogue in the form that the system takes; `vectors` are behaviour's, where they are others."""
    given = wanted(item_vectors=behaviour(num_items) if vectors is None else vectors)
    data = system.view(SEMANTIC_IDS.view(synthetic_sequences(num_items=num_items), given))
    assert isinstance(data, CatalogueData)
    return data


def prepared(system: System, data: CatalogueData, **changed: Any) -> Any:
    """An untrained tokenizer with words by k-means."""
    torch.manual_seed(0)
    module = system.build(system.config(**{**settings(system), **changed}), data.schema)
    assert isinstance(module, Tokenizer)
    module.prepare(data)
    return module


def train(system: System, module: Any, data: CatalogueData, steps: int, rate: float = 2e-3) -> list[float]:
    """Steps of the first stage on batches of the catalogue; the losses."""
    stage = system.stages_of(module.config)[0]
    optimizer = torch.optim.AdamW(list(stage.parameters(module)), lr=rate)
    random, losses = np.random.default_rng(0), []
    for step in range(steps):
        rows = random.permutation(len(data.train))[: module.config.batch_size]
        loss, _ = stage.loss(module, data.train.batch(rows), step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def items(data: CatalogueData) -> ItemBatch:
    """All items of the catalogue."""
    return data.test.batch(np.arange(len(data.test)))

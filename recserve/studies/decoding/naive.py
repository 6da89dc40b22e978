"""Beam search as one writes it first: the network as a graph that is asked anew at every step, the search around it.

Nothing is kept between steps: each call encodes the history and computes all steps of every path again. In two ways:
each path with its own copy of the history, as a batch of independent sequences, or all paths beside one history.

Legend: R rows of a batch, A paths of a row, T tokens chosen so far, L longest history, M codebooks, D words,
C categories, K beams, W candidates looked at.
"""

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kernels.consistency_pruning import (
    Beams,
    Candidates,
    Rule,
    consistency_pruning,
    crss_candidates,
    crss_log_probs,
    initial_beams,
    required_match,
)
from training.servable import Packed, Servable, TensorSpec, servable
from training.systems.reg4rec import Reg4Rec
from training.systems.reg4rec.catalogue import Catalogue
from training.systems.reg4rec.decode import check_steps

PATHS, STEPS = "paths", "steps"


class Step(nn.Module):
    """History and the tokens so far -> logits of the next token, and the state's part of the category logits."""

    def __init__(self, model: Reg4Rec) -> None:
        super().__init__()
        self.generator = model.generator

    def forward(
        self, history: Int[Tensor, "R L"], length: Int[Tensor, "R 1"], tokens: Int[Tensor, "R A T"]
    ) -> tuple[Float[Tensor, "R A MD"], Float[Tensor, "R A C"]]:
        generator = self.generator
        encoded = generator.encode(history, length[:, 0])
        newest = encoded.newest.expand(-1, tokens.shape[1], -1)
        outputs = generator.decoder(newest, generator.embedded(tokens), encoded.memory)[:, :, -1]
        return generator.confidence(outputs, generator.directions()).flatten(2), generator.category_of_state(outputs)


def step_servable(model: Reg4Rec) -> Servable:
    """The graph of one step, for a host that does the rest."""
    length, words = model.config.max_length, model.config.shape.words
    num_tokens, num_items = model.config.shape.codebooks * words, len(model.codes)
    num_categories = model.generator.category_of_state.out_features

    def example(batch_size: int, seed: int) -> Packed:
        random = torch.Generator().manual_seed(seed)
        history = torch.randint(1, num_items, (batch_size, length), generator=random)
        lengths = torch.randint(1, length + 1, (batch_size, 1), generator=random)
        return history, lengths, torch.randint(0, num_tokens, (batch_size, 6, 2), generator=random)

    return servable(
        name="reg4rec_step",
        module=Step(model),
        inputs=(
            TensorSpec(name="history", dtype="int64", shape=(length,)),
            TensorSpec(name="length", dtype="int64", shape=(1,)),
            TensorSpec(name="tokens", dtype="int64", shape=(PATHS, STEPS)),
        ),
        outputs=(
            TensorSpec(name="logits", dtype="float32", shape=(PATHS, num_tokens)),
            TensorSpec(name="states", dtype="float32", shape=(PATHS, num_categories)),
        ),
        example=example,
        max_batch_size=2,
    )


def search(model: Reg4Rec, session: ort.InferenceSession, *, shared: bool) -> Callable[[np.ndarray, float], Beams]:
    """(history int64 [n], theta) -> the same beams as in the one graph.

    `shared`: all paths beside one history; otherwise a copy of it for each.
    """
    catalogue, table = model.catalogue(), model.generator.category_table().detach()

    def ask(history: np.ndarray, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """`tokens` [K, T] -> logits [1, K, M, D], states [1, K, C]."""
        paths = tokens[None] if shared else tokens[:, None]
        rows = paths.shape[0]
        padded = np.zeros((rows, model.config.max_length), np.int64)
        padded[:, : len(history)] = history
        feeds = {"history": padded, "length": np.full((rows, 1), len(history)), "tokens": paths.numpy()}
        logits, states = (torch.from_numpy(array) for array in session.run(None, feeds))
        shape = model.config.shape
        return logits.reshape(1, len(tokens), shape.codebooks, shape.words), states.reshape(1, len(tokens), -1)

    return lambda history, theta: _beams(model, ask, (catalogue, table), history[-model.config.max_length :], theta)


def _beams(
    model: Reg4Rec,
    ask: Callable[[np.ndarray, Tensor], tuple[Tensor, Tensor]],
    tables: tuple[Catalogue, Tensor],
    history: np.ndarray,
    theta: float,
) -> Beams:
    config, (catalogue, table) = model.config, tables
    rule = Rule(window=config.over * config.beams, codebook_size=config.shape.words)
    beams = initial_beams(1, config.beams, config.shape.codebooks)
    tokens = torch.zeros(config.beams, 0, dtype=torch.int64)
    for step in range(config.shape.codebooks):
        logits, states = ask(history, tokens)
        if catalogue.partial is not None:
            logits = logits.masked_fill(~catalogue.partial.allowed(beams.codes), -torch.inf)
        scores, chosen = crss_candidates(beams, crss_log_probs(logits, beams.codes), rule.window)
        parents, words = (chosen[0] // table.shape[0]).long(), (chosen[0] % table.shape[0]).long()
        categories = (states[0, parents] + table[words]).argmax(1).int()[None, :, None]
        checked = step + 1 in check_steps(config.shape.codebooks)
        need = torch.tensor([required_match(theta, step + 1) if checked else 0], dtype=torch.int32)
        pruned = consistency_pruning(Candidates(scores, chosen, categories), beams, need, rule)
        beams = pruned.beams
        last = pruned.tokens[0].clamp(min=0).long()[:, None]
        tokens = torch.cat((tokens[pruned.parents[0].clamp(min=0).long()], last), 1)
    return beams

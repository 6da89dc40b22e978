"""Stage 1: the target's tokens in the order of the model's confidence (CRSS), and its category.

The paper states neither order nor weights (our design). A first share of the stage may be in random order; by default
it has none, as a random path is one of M! for the same item. Tokens of weight 0 come last and are no target, others
count by their weight (as MMQ-v2 states for generative retrieval; that weights are normalised is our design).
Probabilities are those of decoding: where it masks tokens that lead to no item, so does the loss, and what is learnt is
only which of the items. The end of a path is implied after M tokens and not scored.

Legend: B requests, L places, P places that have a target, M codebooks and steps, D words, C categories.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from training.data.sequences import SequenceBatch
from training.systems.reg4rec.catalogue import Catalogue, possible_tokens
from training.systems.reg4rec.decode import step_log_probs
from training.systems.reg4rec.generator import Generator, without_dropout
from training.systems.reg4rec.model import Reg4Rec

_INACTIVE_RANK = 1e3
_USED_RANK = 1e6


class Targets(NamedTuple):
    """The items that follow each place of a batch."""

    item: Int64[Tensor, "B L"]
    """0 where there is none."""
    tokens: Int64[Tensor, "B L M"]
    """codebook * D + word"""
    weights: Float[Tensor, "B L M"]


def loss(module: nn.Module, batch: SequenceBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted mean cross-entropy of the tokens, plus that of the categories."""
    assert isinstance(module, Reg4Rec)
    config, targets = module.config, targets_of(module, batch.targets)
    states = module.generator.encoder(batch.items)
    if share_done < 1 - config.ordered_share:
        order = random_order(targets.weights)
    else:
        order = confident_order(module.generator, states, targets)
    outputs, chosen = _outputs(module.generator, states, targets.tokens.gather(2, order))
    there = targets.item > 0
    outputs, chosen, item = outputs[there], chosen[there], targets.item[there]
    wanted, weights = (part[there].gather(1, order[there]) for part in (targets.tokens, targets.weights))
    weights = weights / weights.sum().clamp(min=1e-6)
    tokens = -(weights * token_log_probs(module.generator, outputs, wanted, module.catalogue())).sum()
    category = torch.where(weights > 0, module.categories[item].unsqueeze(1), 0)
    guessed = module.generator.category_logits(outputs, chosen)
    # Category 0, and a step without weight, teach nothing.
    categories = functional.cross_entropy(guessed.flatten(0, 1), category.flatten(), ignore_index=0, reduction="sum")
    categories = categories / (category > 0).sum().clamp(min=1)
    return tokens + config.category_weight * categories, {"tokens": tokens.detach(), "categories": categories.detach()}


def targets_of(module: Reg4Rec, items: Int64[Tensor, "*n"]) -> Targets:
    """Tokens and weights of the items."""
    return Targets(items, module.generator.encoder.tokens_of[items], module.weights[items])


def random_order(weights: Float[Tensor, "*n M"]) -> Int64[Tensor, "*n M"]:
    """A permutation of the codebooks, uniform among those with weight; those without come last."""
    return (torch.rand_like(weights) + _INACTIVE_RANK * (weights == 0)).argsort(-1)


def confident_order(generator: Generator, states: Float[Tensor, "B L d"], targets: Targets) -> Int64[Tensor, "B L M"]:
    """CRSS among the target's own tokens: at each step the codebook whose true token is most probable.

    All tokens of a step share one normaliser, so the logits of the true ones decide. Without gradient, and without
    dropout but for that which the states have seen.
    """
    with torch.no_grad(), without_dropout(generator):
        states = states.detach()
        memory = generator.decoder.prefixes(states, 1)
        embedded = generator.embedded(targets.tokens)
        directions = generator.direction(embedded)
        # A used codebook ranks below one without weight, and that below all others.
        rank = -_INACTIVE_RANK * (targets.weights == 0).float()
        x, past, order = generator.decoder.first(states), (), []
        for step in range(targets.tokens.shape[2]):
            output, past = generator.decoder.step(x, step, past, memory)
            confidence = (directions @ generator.wish(output).unsqueeze(-1)).squeeze(-1) + rank
            chosen = confidence.argmax(-1, keepdim=True)
            rank = rank.scatter(2, chosen, -_USED_RANK)
            x = embedded.gather(2, chosen.unsqueeze(3).expand(-1, -1, -1, embedded.shape[3])).squeeze(2)
            order.append(chosen)
    return torch.cat(order, 2)


def codes_of(tokens: Int64[Tensor, "*n M"], words: int) -> Int64[Tensor, "*n M"]:
    """Words by codebook, of tokens in the order in which they were chosen."""
    return torch.zeros_like(tokens).scatter(-1, tokens // words, tokens % words)


def codes_before(tokens: Int64[Tensor, "*n M"], words: int) -> Int64[Tensor, "*n M M"]:
    """Words by codebook (last axis) that were chosen before each step, -1 for none."""
    chosen_at = (tokens // words).argsort(-1).unsqueeze(-2)
    steps = torch.arange(tokens.shape[-1], device=tokens.device).unsqueeze(-1)
    return torch.where(chosen_at < steps, codes_of(tokens, words).unsqueeze(-2), -1)


def token_log_probs(
    generator: Generator, outputs: Float[Tensor, "*n M d"], tokens: Int64[Tensor, "*n M"], catalogue: Catalogue | None
) -> Float[Tensor, "*n M"]:
    """log p(r_t, c_t | path) of each step: one softmax over the tokens that are possible after the steps before."""
    words = generator.sizes.words
    logits = generator.confidence(outputs, generator.directions())
    possible = possible_tokens(codes_before(tokens, words), words, catalogue)
    return step_log_probs(logits, possible).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def _outputs(
    generator: Generator, states: Float[Tensor, "B L d"], tokens: Int64[Tensor, "B L M"]
) -> tuple[Float[Tensor, "B L M d"], Float[Tensor, "B L M d"]]:
    """The decoder's outputs for the paths, and the embeddings of their tokens."""
    chosen = generator.embedded(tokens)
    memory = generator.decoder.prefixes(states, tokens.shape[2])
    return generator.decoder(states, chosen[:, :, :-1], memory), chosen

"""Stage 2, PARS: paths are sampled, rewarded and compared with the other paths of the same user (GRPO).

The paper states GRPO, the rewards and a window of future items with decaying weights. Our design, after Shao et al.,
"DeepSeekMath", 2024, https://arxiv.org/abs/2402.03300 (GRPO, eq. 3; divergence, eq. 4): an action is a token and the
category expected after it; rollouts are fresh at every step, from a random place of each user's history; no dropout.

Legend: B users, L places, G paths of a user, N items of the window, M codebooks and steps, D words.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.sequences import SequenceBatch
from training.layers.generator import reordered
from training.systems.reg4rec.catalogue import Catalogue, possible_tokens
from training.systems.reg4rec.decode import step_log_probs
from training.systems.reg4rec.generator import Encoded, Generator, without_dropout
from training.systems.reg4rec.model import Reg4Rec
from training.systems.reg4rec.rewards import Window, windowed
from training.systems.reg4rec.supervised import codes_of, token_log_probs

_FEW = 1e-6


class Paths(NamedTuple):
    """Sampled paths."""

    tokens: Int64[Tensor, "B G M"]
    """codebook * D + word, in the order in which they were chosen."""
    categories: Int64[Tensor, "B G M"]
    """What was drawn after each step."""


def loss(module: nn.Module, batch: SequenceBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped objective, and the divergence from the weights with which the stage starts."""
    assert isinstance(module, Reg4Rec)
    assert module.reference is not None
    config, generator, reference = module.config, module.generator, module.reference
    if share_done == 0:
        reference.load_state_dict(generator.state_dict())
    place, catalogue = random_place(batch), module.catalogue()
    with without_dropout(generator), without_dropout(reference):
        encoded = generator.encode(batch.items, place + 1)
        with torch.no_grad():
            paths = sample(generator, encoded, config.rollouts, catalogue)
            old = log_probs(generator, encoded, paths, catalogue)
            anchor = log_probs(reference, reference.encode(batch.items, place + 1), paths, catalogue)
        new = log_probs(generator, encoded, paths, catalogue)
    window = window_of(module, batch, place, config.window)
    reward = windowed(codes_of(paths.tokens, config.shape.words), paths.categories, window, config.window_decay)
    gain = clipped_gain((new - old).exp(), advantages(reward), config.clip)
    distance = divergence(new, anchor)
    logged = {"reward": reward.mean(), "divergence": distance.detach()}
    return config.kl_weight * distance - gain, logged


def random_place(batch: SequenceBatch) -> Int64[Tensor, " B"]:
    """A place of each history that has a target, uniformly."""
    return torch.where(batch.targets > 0, torch.rand(batch.targets.shape, device=batch.targets.device), -1).argmax(1)


def window_of(module: Reg4Rec, batch: SequenceBatch, place: Int64[Tensor, " B"], size: int) -> Window:
    """The targets of `place` and the places after it."""
    index = place[:, None] + torch.arange(size, device=place.device)
    items = batch.targets.gather(1, index.clamp(max=batch.targets.shape[1] - 1))
    there = (index < batch.targets.shape[1]) & (items > 0)
    return Window(module.codes[items], module.categories[items], there)


@torch.no_grad()
def sample(generator: Generator, encoded: Encoded, count: int, catalogue: Catalogue | None) -> Paths:
    """`count` paths of each user, with the model's own probabilities."""
    sizes, directions = generator.sizes, generator.directions()
    batch = encoded.newest.shape[0]
    codes = torch.full((batch, count, sizes.codebooks), -1, device=encoded.newest.device)
    x, past, tokens, categories = generator.decoder.first(encoded.newest), (), [], []
    for step in range(sizes.codebooks):
        outputs, past = generator.decoder.step(x, step, past, encoded.memory)
        if step == 0:
            # The users' paths part here.
            outputs = outputs.expand(-1, count, -1)
            past = reordered(past, torch.zeros_like(codes[:, :, 0]))
        possible = possible_tokens(codes, sizes.words, catalogue)
        token = draw(step_log_probs(generator.confidence(outputs, directions), possible).exp())
        x = generator.embedded(token)
        categories.append(draw(generator.category_logits(outputs, x).softmax(-1)))
        tokens.append(token)
        codes = codes.scatter(2, (token // sizes.words).unsqueeze(2), (token % sizes.words).unsqueeze(2))
    return Paths(torch.stack(tokens, 2), torch.stack(categories, 2))


def draw(probabilities: Float[Tensor, "*n V"]) -> Int64[Tensor, "*n"]:
    """One value of each distribution; never one of probability 0."""
    cumulative = probabilities.cumsum(-1)
    # Below the total also after rounding.
    threshold = torch.rand_like(cumulative[..., :1]) * cumulative[..., -1:] * (1 - _FEW)
    return torch.searchsorted(cumulative, threshold, right=True).squeeze(-1)


def log_probs(
    generator: Generator, encoded: Encoded, paths: Paths, catalogue: Catalogue | None
) -> Float[Tensor, "B G M"]:
    """Logarithm of the probability of each step's token and category."""
    chosen = generator.embedded(paths.tokens)
    newest = encoded.newest.expand(-1, paths.tokens.shape[1], -1)
    outputs = generator.decoder(newest, chosen[:, :, :-1], encoded.memory)
    categories = generator.category_logits(outputs, chosen).log_softmax(-1)
    tokens = token_log_probs(generator, outputs, paths.tokens, catalogue)
    return tokens + categories.gather(3, paths.categories.unsqueeze(3)).squeeze(3)


def advantages(reward: Float[Tensor, "B G"]) -> Float[Tensor, "B G"]:
    """(R - mean) / std over a user's paths; 0 where all are equal, also after rounding."""
    unequal = reward.amax(1, keepdim=True) > reward.amin(1, keepdim=True)
    spread = reward.std(1, keepdim=True, correction=0) + _FEW
    return torch.where(unequal, (reward - reward.mean(1, keepdim=True)) / spread, 0.0)


def clipped_gain(ratio: Float[Tensor, "B G M"], advantage: Float[Tensor, "B G"], clip: float) -> Float[Tensor, ""]:
    """Mean of min(rho A, clip(rho, 1 - eps, 1 + eps) A) over steps, paths and users."""
    wide = advantage.unsqueeze(2)
    return torch.minimum(ratio * wide, ratio.clamp(1 - clip, 1 + clip) * wide).mean()


def divergence(new: Float[Tensor, "B G M"], anchor: Float[Tensor, "B G M"]) -> Float[Tensor, ""]:
    """Mean of the k3 estimate of KL(pi || pi_ref): r - log r - 1 with r = pi_ref / pi."""
    logarithm = anchor - new
    return (logarithm.exp() - logarithm - 1).mean()

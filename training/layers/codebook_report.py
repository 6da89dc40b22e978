"""How well codebooks are used over a catalogue.

Legend: N items, P codebooks, K words of a codebook.
"""

from typing import NamedTuple

import numpy as np


class Use(NamedTuple):
    """Of one codebook."""

    counts: np.ndarray
    """int64 [K]: items of each word."""
    utilisation: float
    """Share of the words that some item uses."""
    entropy: float
    """-sum_k p_k ln p_k, in nats; ln K where all words are used alike."""
    perplexity: float
    """exp(entropy): as many words, used alike, would have this entropy."""


def use(codes: np.ndarray, num_words: int) -> Use:
    """Of one codebook's codes int64 [N]. Raises ValueError for no codes and for codes outside 0..K-1."""
    if not len(codes) or codes.min() < 0 or codes.max() >= num_words:
        raise ValueError(f"codes must be at least one, all in 0..{num_words - 1}, found {len(codes)}: {codes[:5]}")
    counts = np.bincount(codes, minlength=num_words)
    shares = counts[counts > 0] / len(codes)
    entropy = max(0.0, float(-(shares * np.log(shares)).sum()))
    return Use(counts, float((counts > 0).mean()), entropy, float(np.exp(entropy)))


def collision_rate(codes: np.ndarray) -> float:
    """1 - distinct rows / rows of int64 [N, P]: the share of items that others' ids already name."""
    return 1 - len(np.unique(codes, axis=0)) / len(codes)


def codebook_metrics(codes: np.ndarray, num_words: int) -> dict[str, float]:
    """Utilisation, entropy and perplexity, mean over the codebooks, and the collision rate; codes int64 [N, P]."""
    uses = [use(column, num_words) for column in codes.T]
    return {
        "utilisation": float(np.mean([one.utilisation for one in uses])),
        "entropy": float(np.mean([one.entropy for one in uses])),
        "perplexity": float(np.mean([one.perplexity for one in uses])),
        "collision_rate": collision_rate(codes),
    }

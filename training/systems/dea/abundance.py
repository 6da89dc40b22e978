"""Information abundance of the fields' tables, and the thresholds that follow from it.

Legend: F fields, R rows of one field's table, D width. The measure is the public one of the embedding-collapse
literature (Guo et al.); normalisation and threshold are our design.

    (1) IA_f   = sum(sigma) / max(sigma)     sigma: singular values of field f's rows, weighted by frequency
    (2) rho_f  = IA_f / min(rows in use, D)  in (0, 1]
    (3) dfc_ij = clamp(1 - sqrt(rho_i rho_j) / median(rho), 0, 1)
    (4) tau_ij = sigmoid(-3 + 8 softplus(a) dfc_ij)     a learned; almost open (0.047) for fields of equal abundance
"""

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, distributed, nn

from training.layers.fields import FieldEmbedding
from training.layers.row_wise import refuse_spread

SAMPLED_ROWS = 8192
"""Larger tables are judged by so many rows, drawn by frequency."""
_OPEN, _STEEPNESS = -3.0, 8.0


def weighted_rows(
    table: Float[Tensor, "R D"], frequency: Int[Tensor, " R"], generator: torch.Generator
) -> Float[Tensor, "S D"]:
    """Rows whose singular values are those of the table over the training samples, up to a common factor.

    Each row times the root of its frequency; of a large table a sample with replacement, by frequency, which has the
    same expected Gram matrix. Rows that were never trained count nothing: they are random and would fake abundance.
    """
    if len(table) <= SAMPLED_ROWS:
        return table * frequency.to(table.dtype).sqrt()[:, None]
    drawn = torch.multinomial(frequency.double(), SAMPLED_ROWS, replacement=True, generator=generator)
    return table[drawn]


def information_abundance(rows: Float[Tensor, "S D"]) -> Float[Tensor, ""]:
    """IA (1), from 1 (rank one) to min(S, D) (all directions alike); 1 for a table of zeros."""
    sigma = torch.linalg.svdvals(rows)
    return (sigma.sum() / sigma.amax().clamp(min=torch.finfo(sigma.dtype).tiny)).clamp(min=1.0)


@torch.no_grad()
def field_abundance(embedding: FieldEmbedding, seed: int) -> Float[Tensor, " F"]:
    """rho of every field (2), in fp64 on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    weight, frequency = embedding.rows.weight.detach().cpu().double(), embedding.frequency.cpu()
    rho = []
    for table, counts in zip(weight.split(embedding.sizes), frequency.split(embedding.sizes), strict=True):
        largest = min(int((counts > 0).sum()), table.shape[1])
        rho.append(information_abundance(weighted_rows(table, counts, generator)) / max(largest, 1))
    return torch.stack(rho)


def deficiency(rho: Float[Tensor, " F"]) -> Float[Tensor, "F F"]:
    """dfc (3): 0 where a pair is as abundant as the median field, towards 1 for collapsed ones."""
    return (1 - torch.outer(rho, rho).sqrt() / rho.median()).clamp(0.0, 1.0)


def thresholds(strictness: Float[Tensor, ""], deficient: Float[Tensor, "F F"]) -> Float[Tensor, "F F"]:
    """tau (4)."""
    return torch.sigmoid(_OPEN + _STEEPNESS * nn.functional.softplus(strictness) * deficient)


class Abundance(nn.Module):
    """rho and dfc as buffers, which travel with the checkpoint; the graph only reads them.

    Until the first refresh every field counts as abundant.
    """

    rho: Float[Tensor, " F"]
    deficiency: Float[Tensor, "F F"]
    steps: Int64[Tensor, ""]

    def __init__(self, num_fields: int) -> None:
        super().__init__()
        self.register_buffer("rho", torch.ones(num_fields))
        self.register_buffer("deficiency", torch.zeros(num_fields, num_fields))
        self.register_buffer("steps", torch.tensor(0))

    def count_step(self, embedding: FieldEmbedding, refresh_every: int) -> None:
        """To be called once per training step, before the forward pass.

        The rows that a refresh draws follow from the number of steps, so a resumed run draws the same.
        """
        refuse_spread(embedding.rows.weight)
        self.steps += 1
        if int(self.steps) % refresh_every == 0:
            self.refresh(embedding)

    def refresh(self, embedding: FieldEmbedding) -> None:
        """Measures all tables anew. Among several processes the first one measures, and all get its figures."""
        several = distributed.is_available() and distributed.is_initialized()
        if not several or distributed.get_rank() == 0:
            self.rho.copy_(field_abundance(embedding, int(self.steps)))
        if several:
            distributed.broadcast(self.rho, src=0)
        self.deficiency.copy_(deficiency(self.rho))

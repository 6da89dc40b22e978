"""What an item's behaviour vector is worth: its norm over the catalogue, and how many behaviour ids that allows.

Legend: N items of the catalogue, B items, Nb behaviour experts, D width of the behaviour vectors.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

LEAST_SPREAD = 1e-3
"""Norms that differ by less than this share of the largest say nothing about the items."""
LAMBDA_RANGE = (1e-10, 1e2)
RUNNING = 0.05
"""Share of a step's mean in the running mean."""
_HALVINGS = 60


class Richness(nn.Module):
    """N_norm = (||e_b|| - N_min) / (N_max - N_min), clamped for items that the catalogue did not have."""

    lowest: Float[Tensor, ""]
    highest: Float[Tensor, ""]
    scale: Float[Tensor, ""]
    """Root mean square norm, by which behaviour vectors are divided before a network reads them."""

    def __init__(self) -> None:
        super().__init__()
        for name, start in (("lowest", 0.0), ("highest", 1.0), ("scale", 1.0)):
            self.register_buffer(name, torch.tensor(start))

    def prepare(self, vectors: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        """Measures the catalogue and returns its norms. Raises ValueError for vectors without norms of their own."""
        norms = vectors.norm(dim=1)
        if vectors.shape[1] == 0 or not norms.isfinite().all():
            raise ValueError(
                f"item_vectors is {list(vectors.shape)} or not finite; mmq2 needs those of a sasrec run: train it first"
            )
        lowest, highest = norms.min(), norms.max()
        if highest - lowest <= LEAST_SPREAD * highest:
            raise ValueError(
                f"item_vectors all have norms from {lowest:.6g} to {highest:.6g}; information richness is the norm, so "
                "they must not be L2-normalised: give the sequence model's vectors as they are"
            )
        self.lowest.copy_(lowest)
        self.highest.copy_(highest)
        self.scale.copy_(norms.square().mean().sqrt())
        return norms

    def of(self, norms: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """N_norm of behaviour vectors with these norms."""
        return ((norms - self.lowest) / (self.highest - self.lowest)).clamp(0.0, 1.0)


def alignment_strength(richness: Float[Tensor, " B"], alpha: float, beta: float) -> Float[Tensor, " B"]:
    """w = sigmoid(alpha N_norm - beta) / sigmoid(alpha - beta): 1 for the richest item, near 0 for poor ones."""
    full = torch.sigmoid(torch.tensor(alpha - beta, dtype=richness.dtype, device=richness.device))
    return torch.sigmoid(alpha * richness - beta) / full


class Sparsity(nn.Module):
    """Load-balanced sparsity of the router (ReMoE's form), and the lambda that keeps it at its target."""

    theta: Float[Tensor, ""]
    strength: Float[Tensor, ""]
    """lambda."""
    active_mean: Float[Tensor, ""]
    """Running mean of the router's weights above 0."""

    def __init__(self, experts: int, start: float, step: float) -> None:
        super().__init__()
        self.experts, self.step = experts, step
        self.register_buffer("theta", torch.tensor(0.0))
        self.register_buffer("strength", torch.tensor(start))
        self.register_buffer("active_mean", torch.tensor(1.0))

    def prepare(self, richness: Float[Tensor, " N"], active_share: float) -> None:
        """theta, so that over the catalogue the targets leave `active_share` of the behaviour ids active."""
        low, high = torch.zeros((), dtype=torch.float64), torch.tensor(1e6, dtype=torch.float64)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            enough = self._target(richness.double(), middle).mean() >= 1 - active_share
            low, high = (low, middle) if enough else (middle, high)
        self.theta.copy_(high)

    def target(self, richness: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """s_target = theta (1 - N_norm): the share of its behaviour ids that an item is to do without, at most all but
        one."""
        return self._target(richness, self.theta)

    def _target(self, richness: Tensor, theta: Tensor) -> Tensor:
        return (theta * (1 - richness)).clamp(0.0, 1 - 1 / self.experts)

    def loss(self, routed: Float[Tensor, "B Nb"], target: Float[Tensor, " B"]) -> Float[Tensor, ""]:
        """L_reg = lambda / B sum_t sum_j sg(f_t,j) |R_t,j|; `target` is each item's s_target."""
        return self.strength.clone() * (load(routed, target) * routed.abs()).sum(1).mean()

    @torch.no_grad()
    def adapt(self, routed: Float[Tensor, "B Nb"], target: Float[Tensor, " B"]) -> None:
        """lambda times a ** sign(s_target - s_current), means over the batch, within its range: more where too many are
        active."""
        current = 1 - (routed > 0).to(routed.dtype).mean()
        self.strength.mul_(self.step ** torch.sign(target.mean() - current)).clamp_(*LAMBDA_RANGE)
        if current < 1:
            self.active_mean.lerp_(routed[routed > 0].mean(), RUNNING)


def load(routed: Float[Tensor, "B Nb"], target: Float[Tensor, " B"]) -> Float[Tensor, "B Nb"]:
    """f_t,j: how often expert j is active over what the item's target allows, so that poor items pay more for an active
    id; 1 throughout where all have the same target and meet it. Without a gradient."""
    return ((routed > 0).to(routed.dtype).mean(0) / (1 - target[:, None])).detach()

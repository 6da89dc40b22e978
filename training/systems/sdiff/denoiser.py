"""What a user's spectrum was before the noise, seen the user's items: a network that the condition and the level scale
and shift (FiLM).

Legend: B users, N items, K frequencies, H hidden, T levels.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

_LEVEL_DIM = 32


class Denoiser(nn.Module):
    """Spectra and conditions -> spectra, both in units of each coefficient's spread."""

    def __init__(self, num_items: int, num_frequencies: int, hidden: int, levels: int) -> None:
        super().__init__()
        self.encode = nn.Linear(num_items, hidden)
        self.null = nn.Parameter(torch.zeros(hidden))
        """Stands for a condition that is not told."""
        self.level = nn.Embedding(levels + 1, _LEVEL_DIM)
        self.film = nn.Linear(hidden + _LEVEL_DIM, 2 * hidden)
        self.enter, self.mix, self.leave = (
            nn.Linear(*sizes) for sizes in ((num_frequencies, hidden), (hidden, hidden), (hidden, num_frequencies))
        )
        # Training starts unconditioned.
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def condition(self, met: Float[Tensor, "B N"]) -> Float[Tensor, "B H"]:
        """Of items that are met; the length of the list does not matter."""
        return torch.tanh(self.encode(met / met.norm(dim=1, keepdim=True).clamp(min=1.0)))

    def untold(self, condition: Float[Tensor, "B H"], which: Bool[Tensor, " B"]) -> Float[Tensor, "B H"]:
        """The null condition where it is not told."""
        return torch.where(which[:, None], self.null, condition)

    def forward(
        self, noisy: Float[Tensor, "B K"], condition: Float[Tensor, "B H"], level: Int[Tensor, " B"]
    ) -> Float[Tensor, "B K"]:
        """The spectrum without noise."""
        scale, shift = self.film(torch.cat((condition, self.level(level)), dim=1)).chunk(2, dim=1)
        hidden = nn.functional.silu(self.enter(noisy) * (1 + scale) + shift)
        return self.leave(nn.functional.silu(self.mix(hidden)) + condition)

"""Scores candidates for a user: the product of two embeddings."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from shop.data import NUM_ITEMS, NUM_USERS
from training.servable import Axis, Servable, TensorSpec, servable

WEIGHTS = Path(__file__).parents[1] / "weights" / "two_tower.safetensors"
DIM = 8


class TwoTower(nn.Module):
    """Row 0 of each table is for who is unknown."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(1 + NUM_USERS, DIM), nn.Embedding(1 + NUM_ITEMS, DIM)

    def forward(self, user: Tensor, items: Tensor) -> Tensor:
        """[B, 1] and [B, C] ids -> [B, C] scores."""
        return (self.users(_row(user, NUM_USERS)) * self.items(_row(items, NUM_ITEMS))).sum(-1)


def _row(ids: Tensor, number: int) -> Tensor:
    return torch.where((ids >= 0) & (ids < number), ids + 1, 0)


def example(batch_size: int, seed: int) -> tuple[Tensor, ...]:
    """Requests of users and candidates, some of which nobody knows."""
    random = torch.Generator().manual_seed(seed)
    user = torch.randint(0, NUM_USERS + 5, (batch_size, 1), generator=random)
    return user, torch.randint(0, NUM_ITEMS + 5, (batch_size, 20), generator=random)


def two_tower() -> Servable:
    """What recserve exports."""
    module = TwoTower()
    module.load_state_dict(load_file(WEIGHTS))
    items = Axis("items", least=0, greatest=1000)
    return servable(
        name="two_tower",
        module=module,
        example=example,
        inputs=[
            TensorSpec(name="user", dtype="int64", shape=(1,)),
            TensorSpec(name="items", dtype="int64", shape=(items,)),
        ],
        outputs=[TensorSpec(name="scores", dtype="float32", shape=(items,))],
    )

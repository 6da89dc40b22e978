"""Tells the topic of a title: the mean of its words' embeddings, and a layer."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from shop.data import NUM_TITLE_WORDS, NUM_TOPICS, NUM_WORDS
from training.servable import Axis, Servable, TensorSpec, servable

WEIGHTS = Path(__file__).parents[1] / "weights" / "topics.safetensors"
DIM = 8


class Topics(nn.Module):
    """Words that nobody knows are left to the bounds of the input, which refuse them."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.topics = nn.Embedding(NUM_WORDS, DIM), nn.Linear(DIM, NUM_TOPICS)

    def forward(self, words: Tensor) -> Tensor:
        """[B, W] ids of words -> [B, NUM_TOPICS] probabilities."""
        return self.topics(self.words(words).mean(1)).softmax(-1)


def example(batch_size: int, seed: int) -> tuple[Tensor, ...]:
    """Requests of titles."""
    random = torch.Generator().manual_seed(seed)
    return (torch.randint(0, NUM_WORDS, (batch_size, NUM_TITLE_WORDS), generator=random),)


def topics() -> Servable:
    """What recserve exports."""
    module = Topics()
    module.load_state_dict(load_file(WEIGHTS))
    words = Axis("words", least=1, greatest=64)
    return servable(
        name="topics",
        module=module,
        example=example,
        inputs=[TensorSpec(name="words", dtype="int64", shape=(words,), minimum=0, maximum=NUM_WORDS - 1)],
        outputs=[TensorSpec(name="probabilities", dtype="float32", shape=(NUM_TOPICS,))],
    )

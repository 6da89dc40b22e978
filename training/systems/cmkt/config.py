"""What CMKT can be told."""

from dataclasses import dataclass
from typing import Literal

from training.tasks.tracing import TracingConfig

Update = Literal["soft", "hard"]
Constraint = Literal["hinge", "smooth"]


@dataclass(frozen=True, kw_only=True)
class Config(TracingConfig):
    """Sizes, training, and how mastery is kept monotone."""

    dim: int = 32
    """Width of the embeddings of answers."""
    hidden: int = 64
    """Hidden units."""
    batch_size: int = 32
    """Students of a training step, over all processes."""
    learning_rate: float = 5e-3
    """Rate of AdamW."""
    update: Update = "soft"
    """soft reads mastery from the hidden state, whatever the answer did to it, and constrains it in training; hard
    moves the mastery of what was practised up after a right answer and down after a wrong one, by construction."""
    monotonicity: float = 1.0
    """Weight of the constraint, of the update soft; 0 leaves it out: the control."""
    constraint: Constraint = "hinge"
    """hinge wants `margin` between the mastery after the answer and after its opposite; smooth, the temperature times
    -log sigmoid of the difference over it, wants ever more, but ever less so."""
    margin: float = 0.01
    """Margin of the hinge."""
    temperature: float = 0.01
    """Temperature of the smooth form."""
